/**
 * How full a pool is (epp.md §3.9): 1 = as full as it should be, and 1 where there is no endpoint. Endpoints that play different parts
 * (label `llm-d.ai/role`) are judged apart, and the fuller stage counts.
 *
 * Ours: what was sent to a replica since its last scrape counts too, or all that waits would be sent on within one scrape interval. Where
 * requests wait at the replica, those that no scrape has seen wait as well; elsewhere it may begin as many as it runs already, or
 * as many as may wait, before they count.
 */
import { parseDuration } from '../../config/duration.ts'
import { EndpointState, type EndpointTable, MissingSignal } from '../endpoint-table.ts'
import type { PluginPlan } from '../pool-plan.ts'
import { concurrencyParameters } from '../scheduling/plugins/concurrency-detector.ts'
import { utilizationParameters } from '../scheduling/plugins/utilization-detector.ts'
import { ownDetector, type SaturationDetector } from './own-policies.ts'

/** What a detector says of a set of endpoints. */
interface StageDetector {
  begin(): void
  /** One endpoint of the stage. */
  add(table: EndpointTable, slot: number, nowMs: number): void
  /** Of those added since `begin`; 1 = none was. */
  saturation(): number
  /** Of those added, the ones that have told nothing for too long. */
  readonly stale: number
  /** Something is known of some of those added. */
  readonly known: boolean
}

const ROLE = 'llm-d.ai/role'
const PREFILL = 1
const DECODE = 2
const ROLES: Readonly<Record<string, number>> = {
  prefill: PREFILL,
  'encode-prefill': PREFILL,
  'prefill-decode': PREFILL | DECODE,
  both: PREFILL | DECODE,
  'encode-prefill-decode': PREFILL | DECODE,
  decode: DECODE,
  encode: 0,
}

export class Saturation {
  /** As of the last `measure`. */
  prefill = 0
  decode = 0
  effective = 1
  stale = 0
  /** Something is known of some endpoint. */
  known = false
  /** No endpoint can be picked. */
  empty = true
  readonly #table: EndpointTable
  #detector: StageDetector
  /** By slot: the stages it is part of. */
  #stages = new Uint8Array(0)
  /** Some endpoint only computes prompts: only then is there a stage of its own for that. */
  #staged = false

  /** @throws ZodError */
  constructor(plan: PluginPlan, table: EndpointTable) {
    this.#table = table
    this.#detector = createDetector(plan)
    this.adopt(plan)
  }

  /** The table has other endpoints now, or another detector judges them. @throws ZodError */
  adopt(plan: PluginPlan): void {
    const table = this.#table
    this.#detector = createDetector(plan)
    this.#stages = new Uint8Array(table.capacity)
    this.#staged = false
    for (let i = 0; i < table.liveCount; i++) {
      const slot = table.live[i]!
      const role = table.labels(slot)?.[ROLE]
      // An endpoint without the label decodes; so does one with a role that nobody knows.
      const stages = role !== undefined && Object.hasOwn(ROLES, role) ? ROLES[role]! : DECODE
      this.#stages[slot] = stages
      if (stages === PREFILL) this.#staged = true
    }
  }

  /** Looks at all endpoints. Returns `effective`. */
  measure(nowMs: number): number {
    this.decode = this.#stage(DECODE, nowMs)
    this.stale = this.#detector.stale
    this.known = this.#detector.known
    this.prefill = 0
    if (this.#staged) {
      this.prefill = this.#stage(PREFILL, nowMs)
      this.stale += this.#detector.stale
      this.known ||= this.#detector.known
    }
    this.effective = Math.max(this.prefill, this.decode)
    return this.effective
  }

  #stage(stage: number, nowMs: number): number {
    const table = this.#table
    const detector = this.#detector
    detector.begin()
    this.empty = true
    for (let i = 0; i < table.liveCount; i++) {
      const slot = table.live[i]!
      if (table.endpointState[slot] !== EndpointState.READY) continue
      this.empty = false
      if ((this.#stages[slot]! & stage) !== 0) detector.add(table, slot, nowMs)
    }
    return detector.saturation()
  }
}

/** Types of plug-ins that a `saturationDetector` may name, beside users' own. */
export const SATURATION_DETECTORS: readonly string[] = ['utilization-detector', 'concurrency-detector']

/** An engine may take so long to free what an aborted request had, ms. */
const ABORT_MS = 250
/** What we count ourselves is known at once, ms. */
const COUNTED_MS = 10

/** How long after a request was aborted a detector may still count it, ms. */
export function visibleAfterMs({ type, parameters }: PluginPlan, scrapeIntervalMs: number): number {
  if (type === 'concurrency-detector') return COUNTED_MS
  // Of a user's own nothing is known: it may go by either.
  if (type !== 'utilization-detector') return scrapeIntervalMs + ABORT_MS
  const { metricsStalenessThreshold } = utilizationParameters.parse(parameters)
  return scrapeIntervalMs + (parseDuration(metricsStalenessThreshold) ?? 0) + ABORT_MS
}

/** @throws ZodError */
export function createDetector(plan: PluginPlan): StageDetector {
  if (plan.type === 'concurrency-detector') return new Concurrency(plan.parameters)
  const own = plan.type === 'utilization-detector' ? undefined : ownDetector(plan)
  return own === undefined ? new Utilization(plan.parameters) : new OwnStage(own)
}

/** What a user's own detector says of the endpoints. */
class OwnStage implements StageDetector {
  readonly stale = 0
  readonly known = true
  readonly #detector: SaturationDetector
  #slots = new Int32Array(64)
  #count = 0
  #table: EndpointTable | undefined
  #nowMs = 0

  constructor(detector: SaturationDetector) {
    this.#detector = detector
  }

  begin(): void {
    this.#count = 0
  }

  add(table: EndpointTable, slot: number, nowMs: number): void {
    if (this.#slots.length < table.capacity) {
      const grown = new Int32Array(table.capacity)
      grown.set(this.#slots)
      this.#slots = grown
    }
    this.#table = table
    this.#nowMs = nowMs
    this.#slots[this.#count++] = slot
  }

  saturation(): number {
    return this.#count === 0 ? 1 : this.#detector.saturation(this.#table!, this.#slots, this.#count, this.#nowMs)
  }
}

/**
 * The mean over endpoints of max(queue/threshold, KV usage/threshold), unclamped; one that says nothing counts 1. One replica that lies, or has
 * a very long queue, so stops a pool whose others are idle, unless `maxEndpointSaturation` bounds what one may count.
 */
class Utilization implements StageDetector {
  stale = 0
  readonly #queue: number
  readonly #usage: number
  readonly #staleMs: number
  readonly #most: number
  #sum = 0
  #count = 0

  constructor(given: unknown) {
    const parameters = utilizationParameters.parse(given)
    this.#queue = parameters.queueDepthThreshold
    this.#usage = parameters.kvCacheUtilThreshold
    this.#staleMs = parseDuration(parameters.metricsStalenessThreshold) ?? 0
    this.#most = parameters.maxEndpointSaturation ?? Number.POSITIVE_INFINITY
  }

  begin(): void {
    this.#sum = 0
    this.#count = 0
    this.stale = 0
  }

  add(table: EndpointTable, slot: number, nowMs: number): void {
    this.#count++
    if (table.age(slot, nowMs) > this.#staleMs || (table.missing[slot]! & SIGNALS) !== 0) {
      this.stale++
      this.#sum++
      return
    }
    const waiting = table.waiting[slot]!
    const unseen = table.unseen(slot)
    const free = waiting > 0 ? 0 : Math.max(this.#queue, table.running[slot]!)
    const queued = waiting + Math.max(0, unseen - free)
    this.#sum += Math.min(this.#most, Math.max(queued / this.#queue, table.kvUsage[slot]! / this.#usage))
  }

  get known(): boolean {
    return this.#count > this.stale
  }

  saturation(): number {
    return this.#count === 0 ? 1 : this.#sum / this.#count
  }
}

const SIGNALS = MissingSignal.WAITING | MissingSignal.KV_USAGE

/**
 * Requests of ours in flight, or their tokens, as a share of what all endpoints may have; of both the mean over endpoints of the
 * fuller one.
 */
class Concurrency implements StageDetector {
  readonly stale = 0
  /** It goes by what we count ourselves. */
  readonly known = true
  readonly #mode: 'requests' | 'tokens' | 'hybrid'
  readonly #maxRequests: number
  readonly #maxTokens: number
  /** In parts of what one endpoint may have. */
  #sum = 0
  #count = 0

  constructor(given: unknown) {
    const { concurrencyMode, maxConcurrency, maxTokenConcurrency } = concurrencyParameters.parse(given)
    this.#mode = concurrencyMode
    this.#maxRequests = maxConcurrency
    this.#maxTokens = maxTokenConcurrency
  }

  begin(): void {
    this.#sum = 0
    this.#count = 0
  }

  add(table: EndpointTable, slot: number): void {
    this.#count++
    const requests = this.#mode === 'tokens' ? 0 : table.inFlight(slot) / this.#maxRequests
    const tokens = this.#mode === 'requests' ? 0 : table.counters.tokens(slot) / this.#maxTokens
    this.#sum += Math.max(requests, tokens)
  }

  saturation(): number {
    return this.#count === 0 ? 1 : this.#sum / this.#count
  }
}
