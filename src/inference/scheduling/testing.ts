/** Candidates for the tests of scorers. */
import { ALONE, EndpointSlots } from '../endpoint-slots.ts'
import { addresses, endpoints, metrics } from '../testing.ts'
import { Candidates } from './candidates.ts'
import { createScorer } from './scorers/registry.ts'

export interface CandidateFacts {
  readonly waiting?: number
  readonly running?: number
  readonly kvUsage?: number
  /** Decisions that no scrape has seen. */
  readonly unseen?: number
  readonly prefix?: number
  readonly maxLora?: number
  /** Ids of adapters. */
  readonly runningAdapters?: readonly number[]
  readonly waitingAdapters?: readonly number[]
}

/** The scores that a scorer gives to endpoints in this state. */
export function scoresOf(type: string, facts: readonly CandidateFacts[], adapter = 0): number[] {
  const slots = new EndpointSlots({ releaseBy: 'response', threads: 1 })
  slots.update(endpoints(addresses(facts.length)), ALONE)
  const { table } = slots
  const candidates = new Candidates()
  candidates.reserve(table.capacity)
  candidates.adapter = adapter
  facts.forEach((fact, slot) => {
    const running = fact.runningAdapters ?? []
    const waiting = fact.waitingAdapters ?? []
    const adapters = new Int32Array(64)
    adapters.set([...running, ...waiting])
    slots.scrapeBegan(slot)
    const { waiting: queue = 0, running: batch = 0, kvUsage = 0, maxLora = 0 } = fact
    const page = { waiting: queue, running: batch, kvUsage, maxLora, adapters }
    slots.scraped(slot, metrics({ ...page, runningAdapters: running.length, waitingAdapters: waiting.length }), 1000)
    for (let i = 0; i < (fact.unseen ?? 0); i++) table.decide(slot)
    candidates.add(table, slot, 0)
    candidates.prefix[slot] = fact.prefix ?? 0
  })
  const out = new Float64Array(table.capacity)
  createScorer(type).score(candidates, table, out)
  return [...out.subarray(0, facts.length)]
}
