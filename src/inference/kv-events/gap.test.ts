import { expect, it } from '@jest/globals'
import { pack, type Packable } from '../../sim/msgpack.ts'
import { Random } from '../scheduling/random.ts'
import { KvLedger } from './kv-ledger.ts'
import { count, kvPlan, matched, parseBatch, tokens } from './testing.ts'

const BLOCK = 4
const CAPACITY = 300
const PROMPTS = 60

/** An engine's prefix cache: the block that was used longest ago goes first, of a chain its end. Tells what comes and goes as one batch. */
class Engine {
  /** Hash → its prompt and place, oldest use first. */
  readonly #blocks = new Map<number, readonly [number, number]>()

  serve(prompt: number, blocks: number): Packable[] {
    const events: Packable[] = []
    const hash = (at: number) => prompt * 1000 + at + 1
    let held = 0
    while (held < blocks && this.#blocks.has(hash(held))) held++
    if (held < blocks) {
      const hashes = count(hash(blocks - 1), hash(held))
      const ids = count(prompt * 1000 + blocks * BLOCK, prompt * 1000 + held * BLOCK + 1)
      events.push(['BlockStored', hashes, held === 0 ? null : hash(held - 1), ids, BLOCK])
    }
    for (let at = blocks - 1; at >= 0; at--) {
      this.#blocks.delete(hash(at))
      this.#blocks.set(hash(at), [prompt, at])
    }
    const removed: number[] = []
    for (const old of this.#blocks.keys()) {
      if (this.#blocks.size <= CAPACITY) break
      this.#blocks.delete(old)
      removed.push(old)
    }
    if (removed.length > 0) events.push(['BlockRemoved', removed])
    return events
  }
}

it.each([3, 30, 100])('after a gap of %i batches doubt knows better than forgetting what the engine holds', gap => {
  const ledger = new KvLedger(kvPlan(), { slots: 32 })
  const [truth, doubting, forgetting] = [0, 1, 2]
  const engine = new Engine()
  const random = new Random(7)
  // Few prompts are asked for most of the time, as system prompts are.
  const next = () => Math.trunc(PROMPTS * (random.below(1 << 20) / (1 << 20)) ** 3)
  const sizeOf = (prompt: number) => 5 + (prompt % 16)
  const tell = (slot: number, events: Packable[]) =>
    parseBatch(pack([1, events, 0]), {
      stored: event => ledger.stored(slot, event),
      removed: event => ledger.removed(slot, event),
      cleared: () => ledger.clear(slot),
      sweep: () => ledger.sweep(slot),
      skipped: reason => {
        throw new Error(reason)
      },
    })
  const step = (...slots: number[]) => {
    const prompt = next()
    const held = matched(ledger, tokens([count(prompt * 1000 + sizeOf(prompt) * BLOCK, prompt * 1000 + 1)]))
    const events = engine.serve(prompt, sizeOf(prompt))
    if (events.length > 0) for (const slot of slots) tell(slot, events)
    return held
  }
  for (let i = 0; i < 500; i++) step(truth, doubting, forgetting)
  for (let i = 0; i < gap; i++) step(truth)
  ledger.doubt(doubting)
  ledger.clear(forgetting)
  const wrong = { doubting: 0, forgetting: 0 }
  for (let i = 0; i < 300; i++) {
    const held = step(truth, doubting, forgetting)
    wrong.doubting += Math.abs(held[doubting]! - held[truth]!)
    wrong.forgetting += Math.abs(held[forgetting]! - held[truth]!)
  }
  expect(wrong.doubting).toBeLessThan(wrong.forgetting / 2)
})
