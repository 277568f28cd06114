/** Candidates for the tests of scorers. */
import { ATTRIBUTES_PER_ENDPOINT, type EndpointTable } from '../endpoint-table.ts'
import { ALONE, EndpointSlots } from '../endpoint-slots.ts'
import { SessionTokens } from '../session-tokens.ts'
import { addresses, endpoints, metrics } from '../testing.ts'
import { Candidates } from './candidates.ts'
import type { Scorer } from './scorer.ts'
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
  readonly labels?: Readonly<Record<string, string>>
  /** Tokens in flight. */
  readonly tokens?: number
  /** Predicted times, ms. */
  readonly ttft?: number
  readonly tpot?: number
  readonly media?: number
  readonly attributes?: Readonly<Record<string, number>>
}

interface Situation {
  readonly candidates: Candidates
  readonly table: EndpointTable
}

/** Candidates in this state. */
export function situation(facts: readonly CandidateFacts[], adapter = 0): Situation {
  const slots = new EndpointSlots({ releaseBy: 'response', threads: 1 })
  const plans = endpoints(addresses(facts.length)).map((plan, i) => ({ ...plan, labels: facts[i]!.labels ?? {} }))
  slots.update(plans, ALONE)
  const { table } = slots
  table.sessionTokens = new SessionTokens('default/pool', plans, table)
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
    candidates.slots[candidates.count++] = slot
    candidates.prefix[slot] = fact.prefix ?? 0
    candidates.tokens[slot] = fact.tokens ?? 0
    candidates.ttft[slot] = fact.ttft ?? Number.NaN
    candidates.tpot[slot] = fact.tpot ?? Number.NaN
    candidates.media[slot] = fact.media ?? 0
  })
  candidates.load(table, 0)
  table.attributeNames = [...new Set(facts.flatMap(({ attributes = {} }) => Object.keys(attributes)))]
  facts.forEach(({ attributes = {} }, slot) => {
    for (const [index, name] of table.attributeNames.entries())
      table.attributes[slot * ATTRIBUTES_PER_ENDPOINT + index] = attributes[name] ?? Number.NaN
  })
  return { candidates, table }
}

/** The scores that a scorer gives to endpoints in this state. */
export function scoresOf(type: string, facts: readonly CandidateFacts[], adapter = 0): number[] {
  const scorer = createScorer(type)
  const given = situation(facts, adapter)
  const { capacity } = given.table
  scorer.adopt?.(given.table)
  scorer.attach?.(new Int32Array(scorer.sharedWords?.(capacity) ?? 0))
  return scores(scorer, given)
}

/** As `scoresOf`, by a scorer that is made already. */
export function scores(scorer: Scorer, { candidates, table }: Situation): number[] {
  const out = new Float64Array(table.capacity)
  scorer.score(candidates, table, out)
  return [...out.subarray(0, candidates.count)]
}
