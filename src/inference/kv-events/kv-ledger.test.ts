import { Buffer } from 'node:buffer'
import { describe, expect, it } from '@jest/globals'
import { pack, type Packable } from '../../sim/msgpack.ts'
import { BatchApplier } from './batch-applier.ts'
import { StoredBlocks } from './block-events.ts'
import { EventBatchParser, type KvEventSink } from './event-batch.ts'
import type { KvEventsPlan } from './kv-events-plan.ts'
import { KvIndex } from './kv-index.ts'
import { KvLedger } from './kv-ledger.ts'
import { createSpeculativeMemory, SpeculativeIndex } from './speculative-index.ts'
import { count, kvPlan, matched, parseBatch, tokens } from './testing.ts'
import { Turns } from './turns.ts'

/** A ledger that is told of events as engines send them. */
class Play {
  readonly ledger: KvLedger
  readonly #parser = new EventBatchParser()

  constructor(changes: Partial<KvEventsPlan> = {}) {
    this.ledger = new KvLedger(kvPlan(changes), { slots: 32 })
  }

  tell(slot: number, ...events: Packable[]): this {
    const sink: KvEventSink = {
      stored: event => this.ledger.stored(slot, event),
      removed: event => this.ledger.removed(slot, event),
      cleared: () => this.ledger.clear(slot),
      sweep: () => this.ledger.sweep(slot),
      skipped: reason => {
        throw new Error(reason)
      },
    }
    parseBatch(Buffer.from(pack([1, events, 0])), sink, this.#parser)
    return this
  }

  /** Tokens that endpoints 0, 1 and 2 hold of a prompt. */
  holds(prompt: readonly number[], adapter = '', salt = ''): number[] {
    return matched(this.ledger, tokens([prompt], salt), 3, adapter)
  }
}

const PROMPT = count(16)
/** Blocks 1, 2, 3, 4 of the prompt, by hashes of the engine's own. */
const stored = (hashes: Packable[], parent: Packable, ids: number[], size = 4, ...more: Packable[]): Packable => [
  'BlockStored',
  hashes,
  parent,
  ids,
  size,
  ...more,
]

describe('matching', () => {
  it('counts the whole blocks from the start that an endpoint holds', () => {
    const play = new Play().tell(0, stored([11, 12, 13, 14], null, PROMPT)).tell(1, stored([91, 92], null, count(8)))
    expect(play.holds(PROMPT)).toEqual([16, 8, 0])
    expect(play.holds([...count(10), 99, 99, 99, 99])).toEqual([8, 8, 0])
    expect(play.holds(count(7))).toEqual([4, 4, 0])
    expect(play.holds(count(3))).toEqual([0, 0, 0])
    expect(play.holds([2, ...count(16, 2)])).toEqual([0, 0, 0])
  })

  it('is contiguous: a hole ends it', () => {
    const play = new Play().tell(0, stored([11, 12, 13, 14], null, PROMPT), ['BlockRemoved', [12]])
    expect(play.holds(PROMPT)).toEqual([4, 0, 0])
    play.tell(0, stored([12], 11, [5, 6, 7, 8]))
    expect(play.holds(PROMPT)).toEqual([16, 0, 0])
  })

  it('after a gap believes in what is told of again, and in all before that', () => {
    const play = new Play()
      .tell(0, stored([11, 12, 13, 14], null, PROMPT))
      .tell(0, stored([11], null, count(4)))
      .tell(1, stored([91, 92], null, count(8)))
    play.ledger.doubt(0)
    play.ledger.doubt(1)
    expect(play.holds(PROMPT)).toEqual([16, 8, 0])
    play.tell(0, stored([15], 12, [7, 7, 7, 7]))
    for (const slot of [0, 1, 2]) play.ledger.forgetDoubtful(slot)
    expect(play.holds(PROMPT)).toEqual([8, 0, 0])
    expect(play.ledger.size).toMatchObject({ blocks: 3, keys: 3 })
    // A removal may have been missed: told anew it counts once.
    play.ledger.doubt(0)
    play.tell(0, stored([11], null, count(4)), ['BlockRemoved', [11]])
    expect(play.holds(PROMPT)).toEqual([0, 0, 0])
  })

  it('each of several prompts has a chain of its own', () => {
    const play = new Play().tell(0, stored([11, 12], null, count(8)))
    expect(matched(play.ledger, tokens([count(8), count(8)]))).toEqual([16, 0, 0])
    expect(matched(play.ledger, tokens([count(4), count(8, 5)]))).toEqual([4, 0, 0])
  })

  it('goes on where the parent ended, and leaves out orphans', () => {
    const play = new Play()
      .tell(0, stored([11], null, count(4)))
      .tell(0, stored([12, 13], 11, count(12, 5)))
      .tell(1, stored([92], 91, count(8, 5)))
    expect(play.holds(PROMPT)).toEqual([12, 0, 0])
    expect(play.ledger.counts.orphaned).toBe(1)
  })

  it('tells adapters, salts and seeds apart', () => {
    const play = new Play()
      .tell(0, stored([11], null, count(4)))
      .tell(1, stored([11], null, count(4), 4, 3, 'GPU', 'ada', [['ada']]))
      .tell(2, stored([11], null, count(4), 4, null, 'GPU', null, [['salt']]))
    expect(play.holds(PROMPT)).toEqual([4, 0, 0])
    expect(play.holds(PROMPT, 'ada')).toEqual([0, 4, 0])
    expect(play.holds(PROMPT, '', 'salt')).toEqual([0, 0, 4])
    expect(play.holds(PROMPT, 'ada', 'salt')).toEqual([0, 0, 0])
    const other = new Play({ hashSeed: '42' }).tell(0, stored([11], null, count(4)))
    expect(other.holds(PROMPT)).toEqual([4, 0, 0])
    expect(matched(new KvLedger(kvPlan(), { slots: 32 }), tokens([PROMPT]))).toEqual([0, 0, 0])
  })

  it('engines may have blocks of any size, of one pool too', () => {
    const play = new Play()
      .tell(0, stored([11, 12, 13, 14, 15, 16, 17, 18], null, PROMPT, 2))
      .tell(1, stored([21, 22], null, PROMPT, 8))
      .tell(2, stored([31, 32], null, count(12), 6))
    expect(play.holds(PROMPT)).toEqual([16, 16, 12])
    expect(play.holds(count(15))).toEqual([14, 8, 12])
    play.tell(0, ['BlockRemoved', [13]]).tell(1, ['BlockRemoved', [21]])
    expect(play.holds(PROMPT)).toEqual([4, 0, 12])
    // A fourth size has room, a fifth has none; one engine has one size.
    const full = new Play()
    for (const [slot, size] of [1, 2, 4, 8, 16].entries()) full.tell(slot, stored([1], null, count(size), size))
    full.tell(0, stored([2, 3], null, count(4), 2))
    expect(full.ledger.counts.ignored).toBe(3)
    expect(matched(full.ledger, tokens([PROMPT]), 5)).toEqual([1, 2, 4, 8, 0])
  })
})

describe('tiers', () => {
  it('the best tier counts, by its weight', () => {
    const play = new Play()
      .tell(0, stored([11, 12, 13, 14], null, PROMPT))
      .tell(1, stored([11, 12, 13, 14], null, PROMPT, 4, null, 'CPU'))
      .tell(2, stored([11, 12], null, count(8)), stored([13, 14], 12, count(16, 9), 4, null, 'disk'))
    const [gpu, cpu, mixed] = play.holds(PROMPT)
    expect(gpu).toBe(16)
    expect(cpu).toBeCloseTo(12.8)
    expect(mixed).toBeCloseTo(14.4)
  })

  it('a block may be in several: copies are told without tokens', () => {
    const play = new Play().tell(0, stored([11, 12], null, count(8)), stored([11], null, [], 0, null, 'CPU'))
    play.tell(0, ['BlockRemoved', [11, 12], 'GPU'])
    expect(play.holds(PROMPT)[0]).toBeCloseTo(3.2)
    play.tell(0, ['BlockRemoved', [11], 'CPU'])
    expect([play.holds(PROMPT)[0], play.ledger.size.blocks, play.ledger.size.keys]).toEqual([0, 0, 0])
  })
})

describe('consistency', () => {
  it('a block that was told twice survives the first removal', () => {
    const play = new Play().tell(0, stored([11], null, count(4)), stored([11], null, count(4)), ['BlockRemoved', [11]])
    expect(play.holds(PROMPT)).toEqual([4, 0, 0])
    expect(play.tell(0, ['BlockRemoved', [11]]).holds(PROMPT)).toEqual([0, 0, 0])
    play.tell(0, ['BlockRemoved', [11]], ['BlockRemoved', [77]], stored([11], null, count(4)))
    expect(play.holds(PROMPT)).toEqual([4, 0, 0])
  })

  it('what one endpoint removes the others keep', () => {
    const play = new Play().tell(0, stored([11], null, count(4))).tell(1, stored([55], null, count(4)))
    expect(play.tell(0, ['BlockRemoved', [11, 55]]).holds(PROMPT)).toEqual([0, 4, 0])
  })

  it('clears and forgets', () => {
    const play = new Play().tell(0, stored([11], null, count(4))).tell(1, stored([11], null, count(4)))
    expect(play.tell(0, ['AllBlocksCleared']).holds(PROMPT)).toEqual([0, 4, 0])
    play.ledger.forget(1)
    expect([play.holds(PROMPT), play.ledger.size.blocks]).toEqual([[0, 0, 0], 0])
    const index = new KvIndex(play.ledger.state, [1, 0.8])
    expect([index.follows(0), index.follows(1), index.unit]).toEqual([true, false, 4])
  })

  it('indexes attention that reuses whole prefixes, and no other', () => {
    const kinds = (slot: number, kind: Packable, group: Packable, play: Play) =>
      play.tell(slot, stored([11], null, count(4), 4, null, 'GPU', null, null, group, kind))
    const play = new Play()
    kinds(0, 'full_attention', 0, play)
    kinds(0, 'sliding_window', 1, play)
    kinds(1, 'mamba', null, play)
    kinds(2, 'sink_full_attention', 3, play)
    expect(play.holds(PROMPT)).toEqual([4, 0, 4])
    // The other group's blocks have the same hashes: that they go says nothing.
    play.tell(0, ['BlockRemoved', [11], 'GPU', 1])
    expect(play.holds(PROMPT)).toEqual([4, 0, 4])
    expect(play.ledger.counts.ignored).toBe(2)
  })

  it('agrees with plain sets over thousands of random events', () => {
    const play = new Play({ blockTokens: 1 })
    const held = [new Set<string>(), new Set<string>(), new Set<string>()]
    let seed = 7
    const random = (n: number) => (seed = (seed * 48_271) % 0x7fffffff) % n
    for (let i = 0; i < 6000; i++) {
      const slot = random(3)
      const path = Array.from({ length: 1 + random(5) }, () => random(3))
      const name = (end: number) => path.slice(0, end).join('')
      const hash = (end: number) => Number(`1${name(end)}`) * 7
      const mine = held[slot]!
      if (random(400) === 0) {
        play.tell(slot, ['AllBlocksCleared'])
        mine.clear()
      } else if (random(2) === 0) {
        const from = path.findIndex((_, at) => !mine.has(name(at + 1)))
        if (from < 0) continue
        const rest = path.slice(from)
        const hashes = rest.map((_, at) => hash(from + at + 1))
        // Some of the tail may be there already: counted twice then.
        for (let end = from + 1; end <= path.length; end++)
          if (mine.has(name(end))) play.tell(slot, ['BlockRemoved', [hash(end)]])
        play.tell(slot, stored(hashes, from === 0 ? null : hash(from), rest, 1))
        for (let end = from + 1; end <= path.length; end++) mine.add(name(end))
      } else {
        play.tell(slot, ['BlockRemoved', [hash(path.length)]])
        mine.delete(name(path.length))
      }
      if (i % 20 !== 0) continue
      const expected = held.map(set => {
        let end = 0
        while (end < path.length && set.has(name(end + 1))) end++
        return end
      })
      expect(play.holds(path)).toEqual(expected)
    }
    const keys = new Set(held.flatMap(set => [...set]))
    expect(play.ledger.size).toMatchObject({ blocks: held.reduce((sum, set) => sum + set.size, 0), keys: keys.size })
  })
})

describe('many blocks', () => {
  const BLOCKS = 40_000
  const MOST = 512
  /** A block that is forgotten costs a quarter of one that is told, but for a segment more. */
  const MOST_PER_TURN = 4 * (MOST + 128)

  function full(): { readonly ledger: KvLedger; readonly turns: Turns; readonly play: Play } {
    const turns = new Turns(MOST)
    const ledger = new KvLedger(kvPlan({ maxBytes: 64 * 1024 * 1024 }), { slots: 32, turns })
    const play = Object.assign(new Play(), { ledger })
    for (let at = 0; at < BLOCKS; at += 1000) {
      const hashes = count(at + 1000, at + 1)
      play.tell(0, stored(hashes, at === 0 ? null : at, hashes, 1))
    }
    return { ledger, turns, play }
  }

  /** Blocks that are left after each turn. */
  async function watch(ledger: KvLedger, until: () => boolean): Promise<number[]> {
    const left = [BLOCKS, ledger.size.blocks]
    while (!until()) {
      await new Promise(resolve => setImmediate(resolve))
      left.push(ledger.size.blocks)
    }
    return left
  }

  const mostGone = (left: readonly number[]) => Math.max(...left.slice(1).map((each, i) => left[i]! - each))

  it('are cleared in turns; meanwhile their endpoint counts as one that does not tell', async () => {
    const { ledger } = full()
    const follows = () => new KvIndex(ledger.state, [1, 0.8]).follows(0)
    ledger.clear(0)
    expect(follows()).toBe(false)
    const left = await watch(ledger, () => ledger.size.blocks === 0)
    expect(mostGone(left)).toBeLessThanOrEqual(MOST_PER_TURN)
    expect([ledger.size.keys, follows()]).toEqual([0, true])
  })

  it('are cleared in turns before what the engine tells next', async () => {
    const { ledger, turns, play } = full()
    const sink: KvEventSink = {
      stored: event => {
        expect(ledger.size.blocks).toBe(0)
        ledger.stored(0, event)
      },
      removed: () => {},
      cleared: () => ledger.clear(0),
      sweep: () => ledger.sweep(0),
      skipped: reason => {
        throw new Error(reason)
      },
    }
    let done = false
    const applier = new BatchApplier(turns, sink, error => {
      expect(error).toBeUndefined()
      done = true
    })
    applier.apply(Buffer.from(pack([1, [['AllBlocksCleared'], stored([7], null, [1], 1)], 0])))
    const left = await watch(ledger, () => done)
    expect(mostGone(left)).toBeLessThanOrEqual(MOST_PER_TURN)
    expect(play.holds([1, 2])).toEqual([1, 0, 0])
    expect(ledger.size).toMatchObject({ blocks: 1, keys: 1 })
  })

  it('of an endpoint that has gone leave in turns too, and not with what another tells in its place', async () => {
    const { ledger, play } = full()
    ledger.forget(0)
    // Whoever does not sweep before waits for all of it.
    ledger.stored(0, Object.assign(new StoredBlocks(), { blockSize: 1 }))
    expect(ledger.size.blocks).toBe(0)
    play.tell(0, stored([1], null, [1], 1))
    for (let turn = 0; turn < 3; turn++) await new Promise(resolve => setImmediate(resolve))
    expect(play.holds([1, 2])).toEqual([1, 0, 0])
  })

  it('that are doubtful are forgotten in turns', async () => {
    const { ledger, play } = full()
    ledger.doubt(0)
    play.tell(0, stored([100_000], 10, [7], 1))
    ledger.forgetDoubtful(0)
    const left = await watch(ledger, () => ledger.size.blocks === 11)
    expect(mostGone(left)).toBeLessThanOrEqual(MOST_PER_TURN)
    expect(play.holds(count(16))).toEqual([10, 0, 0])
  })
})

describe('memory', () => {
  const chain = (play: Play, slot: number, blocks: number, from = 0) => {
    for (let at = 0; at < blocks; at += 100) {
      const hashes = count(100, 1).map(i => from + at + i)
      play.tell(slot, stored(hashes, at === 0 ? null : from + at, hashes, 1))
    }
  }

  it('grows to what is told, moves readers over, and keeps everything', () => {
    let moves = 0
    const ledger = new KvLedger(kvPlan({ maxBytes: 64 * 1024 * 1024 }), { slots: 32, onState: () => moves++ })
    const play = Object.assign(new Play(), { ledger })
    for (let slot = 0; slot < 3; slot++) chain(play, slot, 20_000, slot * 1e6)
    expect(moves).toBeGreaterThan(1)
    expect(ledger.size).toMatchObject({ blocks: 60_000, keys: 60_000, evicted: 0 })
    for (let slot = 0; slot < 3; slot++) expect(play.holds(count(20_000).map(i => slot * 1e6 + i))[slot]).toBe(20_000)
    ledger.reserve(100)
    expect([ledger.state.slots, play.holds(count(20_000))]).toEqual([128, [20_000, 0, 0]])
  })

  it('stays within its cap: deep blocks go first', () => {
    const play = new Play({ maxBytes: 1024 * 1024 })
    chain(play, 0, 40_000)
    const { bytes, blocks } = play.ledger.size
    expect(bytes).toBeLessThanOrEqual(512 * 1024)
    expect(blocks * 48).toBeLessThanOrEqual(512 * 1024)
    expect(play.ledger.counts.evicted).toBeGreaterThan(0)
    // The start of the chain is worth most.
    expect(play.holds(count(40_000))[0]).toBeGreaterThan(1000)
    const few = new Play({ maxKeys: 50 })
    chain(few, 0, 1000)
    expect(few.ledger.size.keys).toBeLessThanOrEqual(50)
  })
})

describe('speculation', () => {
  it('believes for the time to live that an endpoint gets what it was sent', () => {
    const play = new Play().tell(0, stored([11], null, count(4))).tell(1, stored([99], null, [9, 9, 9, 9]))
    const memory = createSpeculativeMemory(32)
    const [writer, reader] = [new SpeculativeIndex(memory, 32, 2000), new SpeculativeIndex(memory, 32, 2000)]
    const index = new KvIndex(play.ledger.state, [1, 0.8])
    const at = (nowMs: number) => {
      const out = new Float64Array(32)
      index.match(tokens([PROMPT]), '', '', out, reader, nowMs)
      return [...out.subarray(0, 3)]
    }
    const now = 1_700_000_000_000
    expect(at(now)).toEqual([4, 0, 0])
    writer.record(tokens([PROMPT]), '', '', index.unit, 1, now)
    // Endpoint 2 tells nothing: it is not believed to hold anything either.
    writer.record(tokens([count(8)]), '', '', index.unit, 2, now)
    writer.record(tokens([count(8)]), '', '', index.unit, 0, now + 1500)
    expect(at(now + 1999)).toEqual([8, 16, 0])
    expect(at(now + 3001)).toEqual([8, 0, 0])
    expect(at(now + 5000)).toEqual([4, 0, 0])
    expect(at(now - 60_000)).toEqual([4, 0, 0])
  })
})

it('blocks of a long event follow each other, however it is told in parts', () => {
  const prompt = count(4 * 1000)
  const play = new Play().tell(1, stored(count(600), null, prompt.slice(0, 2400)))
  play.tell(1, stored(count(1000, 601), 600, prompt.slice(2400)))
  expect(play.holds(prompt)).toEqual([0, 4000, 0])
  expect(play.ledger.counts).toMatchObject({ stored: 1000, orphaned: 0 })
  play.tell(1, ['BlockRemoved', count(1000, 500)])
  expect(play.holds(prompt)).toEqual([0, 4 * 499, 0])
  // Without the block before the first one all are orphans.
  play.tell(2, stored(count(600), 7, prompt.slice(0, 2400)))
  expect(play.ledger.counts.orphaned).toBe(600)
  expect(play.ledger.counts.removed).toBe(501)
})
