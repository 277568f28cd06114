/**
 * Picks again what a trace of decisions tells of, under another scheduling: each with the candidates and the loads of its moment. What the
 * trace does not have is missed: the request's headers, what replicas have taught since they started, profiles other than the
 * primary one.
 */
import { createEndpointTableState } from './endpoint-table-state.ts'
import { ADAPTERS_PER_ENDPOINT, EndpointState, EndpointTable } from './endpoint-table.ts'
import type { CandidateRecord, ProfileRecord } from './pick-record.ts'
import { MAX_ENDPOINTS } from './pick.ts'
import type { SchedulingPlan } from './pool-plan.ts'
import { Candidates } from './scheduling/candidates.ts'
import type { Profile } from './scheduling/profile.ts'
import { PluginMemory } from './scheduling/plugin-memory.ts'
import { Profiles } from './scheduling/profiles.ts'
import { Random } from './scheduling/random.ts'

export interface Replayed {
  /** The preferred endpoint; undefined: the filters left none. */
  readonly picked: string | undefined
  readonly reason: string
  /** It is as good as the one that was picked then. */
  readonly same: boolean
  /** Scores by scorer type, of the endpoint that was picked then; absent: a filter dropped it. */
  readonly scores: ReadonlyMap<string, number>
}

export class Replay {
  readonly #table: EndpointTable
  readonly #profile: Profile
  readonly #candidates = new Candidates()
  readonly #totals: Float64Array
  readonly #random = new Random(1)

  /** `addresses`: all endpoints of the pool in the trace. */
  constructor(plan: SchedulingPlan, endpoints: ReadonlyMap<string, Readonly<Record<string, string>>>) {
    const slots = [...endpoints].map(([address, labels], slot) => ({ slot, generation: 1, address, labels }))
    const state = createEndpointTableState(Math.max(1, slots.length), 1)
    this.#table = new EndpointTable({ releaseBy: 'response', thread: 0 }, state, slots)
    const profiles = new Profiles(plan)
    const { capacity } = this.#table
    profiles.reserve(capacity)
    profiles.adopt(this.#table, new PluginMemory().update(profiles.plugins, capacity))
    this.#profile = profiles.primary
    this.#candidates.reserve(capacity)
    this.#totals = new Float64Array(capacity)
  }

  pick(then: ProfileRecord, at: number): Replayed {
    const candidates = this.#candidates
    const table = this.#table
    const profile = this.#profile
    candidates.clear()
    const records = then.candidates.filter(record => this.#add(record, at))
    candidates.load(table, 0)
    records.forEach((record, i) => this.#setLoad(record, i))
    candidates.known = records.filter(({ unknown }) => !unknown).length
    candidates.adapter = then.adapter
    candidates.promptBytes = then.promptBytes
    candidates.prefixBytes = then.prefixBytes
    candidates.nowMs = at
    candidates.headers = undefined
    profile.filter(candidates, table)
    const { count } = candidates
    const before = then.picked[0]
    if (count === 0)
      return { picked: undefined, reason: 'filtered', same: before === undefined, scores: new Map<string, number>() }
    profile.rank(candidates, table, this.#totals)
    // Pickers may mark in the totals what they have taken.
    const totals = this.#totals.slice(0, count)
    const picked = new Int32Array(MAX_ENDPOINTS)
    const scored = new Float64Array(MAX_ENDPOINTS)
    profile.pick(this.#totals, count, 1, this.#random, picked, scored)
    const choice = picked[0]!
    const old = candidates.slots.subarray(0, count).indexOf(table.slotOf(before ?? '') ?? -1)
    const scores = new Map<string, number>()
    const scorers = old < 0 ? 0 : profile.scorerCount
    for (let s = 0; s < scorers; s++) scores.set(profile.scorer(s).type, profile.score(s, old))
    const same = old >= 0 && Math.abs(totals[old]! - totals[choice]!) < 1e-9
    // Where several are as good, the one of then is taken: so no difference is told that chance made.
    const taken = same ? old : choice
    profile.chosen(candidates, table, taken)
    return { picked: table.address(candidates.slots[taken]!), reason: profile.reason(taken), same, scores }
  }

  #add(record: CandidateRecord, at: number): boolean {
    const table = this.#table
    const slot = table.slotOf(record.address)
    if (slot === undefined) return false
    table.endpointState[slot] = EndpointState.READY
    table.waiting[slot] = record.waiting
    table.running[slot] = record.running
    table.kvUsage[slot] = record.kvUsage
    table.scrapedAt[slot] = at
    table.maxLora[slot] = record.maxLora
    table.blockSize[slot] = record.blockSize
    table.blockCount[slot] = record.blockCount
    table.runningAdapters[slot] = record.runningAdapters.length
    table.waitingAdapters[slot] = record.waitingAdapters.length
    const adapters = [...record.runningAdapters, ...record.waitingAdapters].slice(0, ADAPTERS_PER_ENDPOINT)
    table.adapters.set(adapters, slot * ADAPTERS_PER_ENDPOINT)
    this.#candidates.slots[this.#candidates.count++] = slot
    return true
  }

  #setLoad(record: CandidateRecord, i: number): void {
    const candidates = this.#candidates
    candidates.waiting[i] = record.waiting
    candidates.running[i] = record.running
    candidates.kvUsage[i] = record.kvUsage
    candidates.unseen[i] = record.unseen
    candidates.inFlight[i] = record.inFlight
    candidates.prefix[i] = record.prefix
    candidates.unknown[i] = record.unknown ? 1 : 0
  }
}
