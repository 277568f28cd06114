import { beforeEach, describe, expect, it } from '@jest/globals'
import { MediaHashes } from '../../media-hashes.ts'
import { situation } from '../testing.ts'
import { createProducer, pluginType } from './registry.ts'
import { pluginScores } from './testing.ts'

const TYPE = 'mm-embeddings-cache-producer'

function play(parameters: Record<string, unknown> = {}) {
  const { candidates, table } = situation([{}, {}, {}])
  const producer = createProducer({ name: TYPE, type: TYPE, parameters })!
  producer.attach!(new Int32Array(producer.sharedWords!(table.capacity)))
  const ask = (...items: readonly number[]) => {
    const hashes = new MediaHashes()
    for (const item of items) hashes.add(item, ~item)
    candidates.mediaHashes = hashes
    producer.produce(candidates, table)
    return [...candidates.media.subarray(0, candidates.count)]
  }
  return { ask, table, choose: (i: number) => producer.chosen!(candidates, table, i), candidates, producer }
}

let made: ReturnType<typeof play>
beforeEach(() => void (made = play()))

describe(TYPE, () => {
  it('is the share of the request’s items that the endpoint was sent', () => {
    expect(made.ask(1, 2)).toEqual([0, 0, 0])
    made.choose(1)
    expect(made.ask(1, 2)).toEqual([0, 1, 0])
    expect(made.ask(2, 3)).toEqual([0, 0.5, 0])
    made.choose(2)
    expect(made.ask(2, 3)).toEqual([0, 0.5, 1])
    expect(made.ask(1, 2, 3, 4)).toEqual([0, 0.5, 0.5])
  })

  it('says nothing of requests without any', () => {
    expect(made.ask()).toEqual([0, 0, 0])
    made.candidates.mediaHashes = undefined
    made.producer.produce(made.candidates, made.table)
    made.choose(0)
    expect([...made.candidates.media.subarray(0, 3)]).toEqual([0, 0, 0])
  })

  it('endpoints hold one item per 2 MB, those that were used last', () => {
    made = play({ cacheSizeInMBPerServer: 6 })
    for (const item of [1, 2, 3]) {
      made.ask(item)
      made.choose(0)
    }
    made.ask(1)
    made.choose(0)
    made.ask(4)
    made.choose(0)
    expect([1, 2, 3, 4].map(item => made.ask(item)[0])).toEqual([1, 0, 1, 1])
  })

  it('what a former tenant of a slot was sent is gone', () => {
    made.ask(1)
    made.choose(0)
    made.table.generation[0]!++
    expect(made.ask(1)).toEqual([0, 0, 0])
  })

  it('thousands of items are remembered', () => {
    for (let item = 1; item <= 4000; item++) {
      made.ask(Math.imul(item, 0x9e3779b1))
      made.choose(item % 3)
    }
    let held = 0
    for (let item = 1; item <= 4000; item++) held += made.ask(Math.imul(item, 0x9e3779b1))[item % 3]!
    expect(held).toBeGreaterThan(3900)
  })

  it.each([[{ cacheSizeInMBPerServer: 0 }], [{ cacheSize: 10 }]])('is nothing with %j', wrong => {
    expect(pluginType(TYPE)!.parameters.safeParse(wrong).success).toBe(false)
  })
})

it('mm-embeddings-cache-scorer is that share', () => {
  expect(pluginScores('mm-embeddings-cache-scorer', {}, [{ media: 0.25 }, {}, { media: 1 }])).toEqual([0.25, 0, 1])
})
