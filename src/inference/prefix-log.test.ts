import { describe, expect, it } from '@jest/globals'
import { ALONE } from './endpoint-slots.ts'
import { PoolKeeper } from './pool-keeper.ts'
import type { SentPrompt } from './prefix-keeper.ts'
import { PickResult, Pool } from './pool.ts'
import { createPrefixLogMemory, PrefixLog } from './prefix-log.ts'
import { hasherOf, poolPlan, request } from './testing.ts'

const prompt = (of: string, blocks: number) => hasherOf(of.repeat(256 * blocks).slice(0, 256 * blocks), 256, 1 << 20)

describe('PrefixLog', () => {
  it('hands entries over in order, around the end of its ring', () => {
    const memory = createPrefixLogMemory(2)
    const [writer, reader, other] = [new PrefixLog(memory, 1), new PrefixLog(memory, 1), new PrefixLog(memory, 0)]
    const hasher = prompt('x', 50)
    let taken = 0
    for (let round = 0; round < 500; round++) {
      writer.note(hasher, 7, round, round + 1, 5 * round)
      writer.note(prompt('y', 1 + (round % 9)), 7, round, round + 2, 9)
      const slots: number[] = []
      reader.drain((slot, generation, keys, blocks, promptBytes) => {
        slots.push(slot, generation, blocks, promptBytes)
        expect(keys[0]).not.toBe(0)
      })
      expect(slots).toEqual([round, round + 1, 50, 5 * round, round, round + 2, 1 + (round % 9), 9])
      taken += 2
    }
    other.drain(() => taken++)
    reader.drain(() => taken++)
    expect(taken).toBe(1000)
  })

  it('a full ring drops what does not fit, and takes more once it is read', () => {
    const memory = createPrefixLogMemory(1)
    const log = new PrefixLog(memory, 0)
    for (let i = 0; i < 1000; i++) log.note(prompt('x', 50), 7, i, 0, 0)
    const slots: number[] = []
    log.drain(slot => slots.push(slot))
    expect(slots).toEqual(Array.from({ length: Math.floor((1 << 14) / 104) }, (_, i) => i))
    log.note(prompt('x', 1), 7, 5000, 0, 0)
    log.drain(slot => slots.push(slot))
    expect(slots.at(-1)).toBe(5000)
  })
})

describe('what a pool notes', () => {
  const pools = (peers: boolean) => {
    const plan = poolPlan(['10.0.0.1:8000', '10.0.0.2:8000', '10.0.0.3:8000'])
    const keeper = new PoolKeeper(plan, { releaseBy: 'response', threads: 2, peers }, ALONE)
    return { keeper, pool: new Pool(keeper.share(), { releaseBy: 'response', thread: 1, seed: 3 }) }
  }
  const told = ({ keeper }: ReturnType<typeof pools>) => {
    const list: SentPrompt[] = []
    keeper.takePrefixes(sent => list.push({ ...sent, keys: sent.keys.slice(0, 2 * sent.blocks) }))
    return list
  }

  it('makes another one place the same prompt at the same endpoint', () => {
    const [here, there] = [pools(true), pools(true)]
    const result = new PickResult()
    for (const letter of 'abcdefghij') {
      const prefix = prompt(letter, 8)
      here.pool.pick(request({ prefix, promptBytes: 2048 }), result)
      const address = here.pool.addressOf(result.slots[0]!)
      here.pool.inFlight.release(result.slots[0]!, result.generations[0]!)
      const [entry, ...more] = told(here)
      expect([entry!.address, entry!.blocks, entry!.promptBytes, more]).toEqual([address, 8, 2048, []])
      there.keeper.peerSent(entry!, 1)
      there.pool.pick(request({ prefix, promptBytes: 2048 }), result)
      expect(there.pool.addressOf(result.slots[0]!)).toBe(address)
      there.pool.inFlight.release(result.slots[0]!, result.generations[0]!)
      told(there)
    }
  })

  it('makes another one expect the prefills that were decided here', () => {
    const plan = poolPlan(['10.0.0.1:8000', '10.0.0.2:8000'], {
      scheduling: { scorers: [{ type: 'expected-ttft-scorer', weight: 1 }] },
    })
    const keeper = new PoolKeeper(plan, { releaseBy: 'response', threads: 2, peers: true }, ALONE)
    const pool = new Pool(keeper.share(), { releaseBy: 'response', thread: 1, seed: 3 })
    const [first, second] = [keeper.table.address(0)!, keeper.table.address(1)!]
    const result = new PickResult()
    const keys = Int32Array.from({ length: 8 }, (_, i) => 1000 + i)
    // 400 KB to prefill at the first: 10 s of work at 0.1 ms a token, told with the request's count.
    keeper.peerCounts.take('peer', { address: first, decided: 1, released: 0, tokens: 0 })
    keeper.peerCounts.take('peer', { address: second, decided: 2, released: 0, tokens: 0 })
    keeper.peerSent({ address: first, keys, blocks: 4, promptBytes: 400_000 }, 1000)
    for (let i = 0; i < 5; i++) {
      pool.pick(request({ prefix: prompt(String(i), 8), promptBytes: 2048, nowMs: 1000 }), result)
      expect(pool.addressOf(result.slots[0]!)).toBe(second)
      pool.inFlight.release(result.slots[0]!, result.generations[0]!)
    }
    // What is cached there is no work: the one with fewer requests is the better one again.
    const other = new PoolKeeper(plan, { releaseBy: 'response', threads: 2, peers: true }, ALONE)
    const calm = new Pool(other.share(), { releaseBy: 'response', thread: 1, seed: 3 })
    other.peerCounts.take('peer', { address: first, decided: 1, released: 0, tokens: 0 })
    other.peerCounts.take('peer', { address: second, decided: 2, released: 0, tokens: 0 })
    for (let i = 0; i < 3; i++) other.peerSent({ address: first, keys, blocks: 4, promptBytes: 1024 }, 1000)
    calm.pick(request({ prefix: prompt('z', 8), promptBytes: 2048, nowMs: 1100 }), result)
    expect(calm.addressOf(result.slots[0]!)).toBe(first)
  })

  it('tells nothing of endpoints that have gone, and nothing at all where nobody asked', () => {
    const here = pools(true)
    const result = new PickResult()
    here.pool.pick(request({ prefix: prompt('z', 4), promptBytes: 1024 }), result)
    here.keeper.update(poolPlan(['10.0.0.9:8000']), ALONE)
    expect(told(here)).toEqual([])
    const alone = pools(false)
    alone.pool.pick(request({ prefix: prompt('z', 4), promptBytes: 1024 }), result)
    expect(told(alone)).toEqual([])
    expect(alone.keeper.share().prefixLog).toBeUndefined()
  })
})
