import { describe, expect, it } from '@jest/globals'
import type { H2Stream } from './h2-stream.ts'
import { OpenStreams } from './open-streams.ts'

const streamOf = (id: number): H2Stream => ({ id }) as H2Stream

describe('the open streams of a connection', () => {
  it('are found as in a map, whatever comes and goes', () => {
    const streams = new OpenStreams()
    const model = new Map<number, H2Stream>()
    let seed = 1
    const random = (below: number): number => (seed = (seed * 48_271) % 0x7fffffff) % below
    let next = 1
    for (let step = 0; step < 60_000; step++) {
      // Waves up to some thousands, with old streams that stay.
      const grows = random(10) < (Math.floor(step / 10_000) % 2 === 0 ? 8 : 2)
      if (grows || model.size === 0) {
        const stream = streamOf(next)
        next += 2 * (1 + random(3))
        streams.add(stream)
        model.set(stream.id, stream)
      } else {
        const ids = [...model.keys()]
        const id = ids[random(4) === 0 ? random(ids.length) : ids.length - 1]!
        streams.delete(id)
        model.delete(id)
        streams.delete(id)
      }
      const asked = 1 + 2 * random(next)
      expect(streams.get(asked)).toBe(model.get(asked))
      expect(streams.size).toBe(model.size)
    }
    for (const [id, stream] of model) expect(streams.get(id)).toBe(stream)
    expect(new Set(streams.all())).toEqual(new Set(model.values()))
  })

  it('keep those whose places are taken', () => {
    const streams = new OpenStreams()
    const ids = [1, 1 + 2 * 64, 1 + 4 * 64, 3]
    for (const id of ids) streams.add(streamOf(id))
    expect(ids.map(id => streams.get(id)?.id)).toEqual(ids)
    streams.delete(1)
    expect(ids.map(id => streams.get(id)?.id)).toEqual([undefined, ...ids.slice(1)])
    streams.delete(1 + 2 * 64)
    streams.delete(1 + 4 * 64)
    expect(streams.all().map(({ id }) => id)).toEqual([3])
    expect(streams.size).toBe(1)
  })
})
