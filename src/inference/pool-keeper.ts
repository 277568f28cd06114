/**
 * One InferencePool on the main thread: gives endpoints their slots, takes what scrapers learn, and releases what access logs tell. Other
 * threads pick (./pool.ts) from the memory that `share()` names.
 */
import { createHeldMemory, HeldBudget } from '../extproc/held-budget.ts'
import { EndpointSlots, type EndpointSlotsOptions, type PlanVersion } from './endpoint-slots.ts'
import { EndpointState, type EndpointTable } from './endpoint-table.ts'
import type { ReplicaMetrics } from './replica-metrics.ts'
import { checkFlowPlan, type FlowFigures, FlowKeeper } from './flow-control/flow-keeper.ts'
import { createDetector } from './flow-control/saturation.ts'
import { createRequestHook } from './scheduling/plugins/registry.ts'
import { KvKeeper } from './kv-events/kv-keeper.ts'
import type { KvLedger } from './kv-events/kv-ledger.ts'
import { type LoadReport, noteLoad } from './load-report.ts'
import type { ServedModel } from './model-list.ts'
import type { PoolPlan } from './pool-plan.ts'
import type { PoolModels, PoolShare } from './pool-share.ts'
import { PeerCounts, type EndpointCount } from './peer-counts.ts'
import { PrefixKeeper, type SentPrompt } from './prefix-keeper.ts'
import { noteScrapeFailure, type ScrapeFailureKind } from './reachability.ts'
import { PluginMemory } from './scheduling/plugin-memory.ts'
import { Profiles } from './scheduling/profiles.ts'
import type { RolloutFigures } from './scheduling/screener.ts'
import { ServedModels } from './served-models.ts'
import { UnseenCounts } from './unseen-counts.ts'

export interface PoolKeeperOptions extends EndpointSlotsOptions {
  /** Told when `models()` has changed by what endpoints listed, not by `update`. */
  readonly onModels?: ((keeper: PoolKeeper) => void) | undefined
}

/** An endpoint for people and for metrics. */
export interface EndpointSnapshot {
  readonly address: string
  readonly state: 'ready' | 'unreachable'
  /** Unix ms of the last good scrape, 0 = never. */
  readonly scrapedAt: number
  readonly waiting: number
  readonly running: number
  readonly kvUsage: number
  readonly inFlight: number
  readonly models: readonly ServedModel[]
}

/** What a pool picks by; throws for a plan that `PoolKeeper` would not take. @throws UnknownScorerError, ZodError, RangeError */
export function checkPoolPlan({ scheduling }: PoolPlan): Profiles {
  if (scheduling.flowControl !== undefined) checkFlowPlan(scheduling.flowControl)
  if (scheduling.admission !== undefined) void createDetector(scheduling.admission.saturation)
  for (const hook of scheduling.hooks ?? []) void createRequestHook(hook)
  return new Profiles(scheduling)
}

export class PoolKeeper {
  readonly #options: PoolKeeperOptions
  readonly #slots: EndpointSlots
  readonly #served = new ServedModels()
  #plan!: PoolPlan
  #profiles!: Profiles
  readonly #prefixes: PrefixKeeper
  readonly #kv: KvKeeper
  #allListed = false
  /** Kept where flow control is switched off for a while. */
  #flow: FlowKeeper | undefined
  readonly #pluginMemory = new PluginMemory()
  #memory: readonly SharedArrayBuffer[] = []
  /** Kept where the limit is taken away for a while: what is held then is given back there. */
  #held: SharedArrayBuffer | undefined
  /** What other replicas of Signalbox count; of use with `options.peers`. */
  readonly peerCounts: PeerCounts
  readonly #unseen: UnseenCounts

  /** @throws UnknownScorerError, RangeError */
  constructor(plan: PoolPlan, options: PoolKeeperOptions, version: PlanVersion) {
    this.#options = options
    this.#slots = new EndpointSlots(options)
    this.peerCounts = new PeerCounts(this.table)
    this.#unseen = new UnseenCounts(this.table)
    this.#prefixes = new PrefixKeeper(this.table, options)
    this.#kv = new KvKeeper(() => options.onModels?.(this))
    this.update(plan, version)
  }

  get plan(): PoolPlan {
    return this.#plan
  }

  get table(): EndpointTable {
    return this.#slots.table
  }

  /** Takes over a plan; endpoints that stay keep all that is known of them. Nothing changes when it throws. */
  update(plan: PoolPlan, version: PlanVersion): void {
    const profiles = checkPoolPlan(plan)
    const { freed, left } = this.#slots.update(plan.endpoints, version)
    this.#plan = plan
    this.table.attributeNames = plan.scrape.attributes ?? []
    const { capacity } = this.table
    this.#memory = this.#pluginMemory.update(profiles.plugins, capacity)
    if (this.#options.peers === true || profiles.screeners.some(screener => screener.figures !== undefined))
      profiles.adopt(this.table, this.#memory)
    this.#profiles = profiles
    const { flowControl } = plan.scheduling
    if (flowControl !== undefined) {
      const { intervalMs } = plan.scrape
      if (this.#flow === undefined)
        this.#flow = new FlowKeeper(flowControl, this.#options.threads, this.table, intervalMs)
      else this.#flow.update(flowControl, intervalMs)
    }
    if (plan.limits?.heldBytes !== undefined) this.#held ??= createHeldMemory(this.#options.threads)
    this.#prefixes.update(plan.scheduling, left)
    this.peerCounts.prune()
    this.#kv.update(plan.scheduling.kvEvents, capacity, freed)
    this.#served.remove(freed, capacity)
    this.#checkListed()
  }

  /** What other threads need to pick. */
  share(): PoolShare {
    return {
      plan: this.#plan,
      slots: this.#slots.share(),
      table: this.table.state,
      ...this.#prefixes.share(),
      models: this.models(),
      ...(this.#plan.scheduling.flowControl === undefined ? {} : { flow: this.#flow!.share() }),
      ...(this.#plan.limits?.heldBytes === undefined ? {} : { held: this.#held! }),
      ...(this.#memory.length === 0 ? {} : { memory: this.#memory }),
    }
  }

  models(): PoolModels {
    const kv = this.#kv.share()
    return { lists: this.#served.lists, allListed: this.#allListed, ...(kv === undefined ? {} : { kv }) }
  }

  /** What engines have told of their caches; undefined: nobody follows that. */
  get kvLedger(): KvLedger | undefined {
    return this.#kv.ledger
  }

  /** A thread has died: see `EndpointSlots.threadDied`. */
  threadDied(thread: number): void {
    this.#slots.threadDied(thread)
    this.#prefixes.threadDied()
    this.#flow?.threadDied(thread)
    if (this.#held !== undefined) new HeldBudget(0, this.#held).forget(thread)
  }

  /** A thread does not answer, for now. */
  threadHangs(thread: number): void {
    this.#flow?.threadHangs(thread)
  }

  /** Of each screener that has any. */
  screenerFigures(): RolloutFigures[] {
    return this.#profiles.screeners.flatMap(screener => screener.figures?.() ?? [])
  }

  /** Undefined: the plan has no flow control. */
  flowFigures(nowMs: number): FlowFigures | undefined {
    return this.#plan.scheduling.flowControl === undefined ? undefined : this.#flow?.figures(nowMs)
  }

  /**
   * An access log entry says that a request is over. `address` is the endpoint that was *picked* (a retry may have been served by
   * another), `startedAt` when the request began (Unix ms; absent: not known). Counts only where `releaseBy` is `access-log`.
   */
  releaseAddress(address: string, startedAt?: number): void {
    const { table } = this
    const slot = table.slotOf(address)
    if (table.releaseBy !== 'access-log') return
    // Of an endpoint that has left the request itself is still counted.
    if (slot === undefined) table.requests.end()
    else if (!this.#slots.releaseLogged(slot, startedAt)) return
    this.#flow?.signal()
  }

  /** An access log entry says where a request was served that had been picked for `picked`: that one did not answer, if it is another. */
  noteServed(picked: string, upstream: string, nowMs: number): void {
    // Ranks are behind one address.
    if (this.#plan.scheduling.handler?.parameters['primaryPort'] !== undefined) return
    const { table } = this
    const server = table.slotOf(upstream)
    if (server === undefined) return
    table.counters.answered(server)
    const slot = picked === upstream ? undefined : table.slotOf(picked)
    if (slot !== undefined) table.counters.missed(slot, nowMs)
  }

  /** A response of the endpoint said so of its load at `at`, Unix ms. Counts only where the pool's plan asks for such reports. */
  noteLoad(address: string, report: LoadReport, at: number): void {
    const { scrape, scheduling } = this.#plan
    // Of ranks behind one address nobody knows which one speaks.
    if (scrape.orca !== true || scheduling.handler?.parameters['primaryPort'] !== undefined) return
    const slot = this.table.slotOf(address)
    if (slot === undefined) return
    noteLoad(this.table, slot, report, at)
    this.#flow?.signal()
  }

  /** Whether some thread has asked for the endpoints' models to be read soon, since this was asked last. */
  takeRelist(): boolean {
    return Atomics.exchange(this.table.relist, 0, 0) !== 0
  }

  /** What this process has counted at the endpoints that are there. */
  *ownCounts(): Generator<EndpointCount> {
    const { table } = this
    for (let i = 0; i < table.liveCount; i++) {
      const slot = table.live[i]!
      const [decided, released] = [table.counters.ownDecided(slot), table.counters.ownReleased(slot)]
      yield {
        address: table.address(slot)!,
        decided,
        released,
        tokens: table.counters.ownTokens(slot),
      }
    }
  }

  /** Takes what threads have noted in the prefix index since this was called last. */
  takePrefixes(visit: (prompt: SentPrompt) => void): void {
    this.#prefixes.take(visit)
  }

  /** Another replica has sent a prompt to an endpoint: picks know what is cached there, and what it has to prefill first. */
  peerSent(prompt: SentPrompt, nowMs: number): void {
    const slot = this.table.slotOf(prompt.address)
    const cached = slot === undefined ? undefined : this.#prefixes.sentElsewhere(slot, prompt)
    if (slot === undefined || cached === undefined) return
    this.#profiles.primary.sentElsewhere(this.table, slot, Math.max(0, prompt.promptBytes - cached), nowMs)
  }

  /** A scrape's request is about to be sent. */
  scrapeBegan(slot: number): void {
    this.#slots.scrapeBegan(slot)
  }

  scrapeSucceeded(slot: number, generation: number, metrics: ReplicaMetrics, beganAt: number): void {
    const { table } = this
    if (table.currentGeneration[slot] !== generation) return
    const returned = table.endpointState[slot] === EndpointState.UNREACHABLE
    this.#slots.scraped(slot, metrics, beganAt)
    this.#prefixes.tune(slot)
    if (returned) this.#returned(slot)
    this.#flow?.signal()
  }

  /** A scrape failed; what that means says ./reachability.ts. */
  scrapeFailed(slot: number, generation: number, how: ScrapeFailureKind): void {
    if (this.table.currentGeneration[slot] !== generation) return
    const change = noteScrapeFailure(this.table, slot, how)
    if (change === 'returned') this.#returned(slot)
    if (change !== 'lost') return
    // Where none is left, other times count for what waits.
    this.#flow?.signal()
    if (this.#checkListed()) this.#options.onModels?.(this)
  }

  /** Counts of endpoints that answer no scrape fade; call every `FADE_STEP_MS`. `now`: Unix ms. */
  fadeUnseen(now: number): void {
    const { intervalMs, idleIntervalMs = 0 } = this.#plan.scrape
    if (this.#unseen.fade(now, Math.max(intervalMs, idleIntervalMs))) this.#flow?.signal()
  }

  /** An endpoint answered `/v1/models`. */
  listed(slot: number, generation: number, models: readonly ServedModel[]): void {
    if (this.table.currentGeneration[slot] !== generation) return
    const first = !this.#served.listed(slot)
    const changed = this.#served.set(slot, models, this.table.capacity)
    if (this.#checkListed() || changed || first) this.#options.onModels?.(this)
  }

  snapshot(): EndpointSnapshot[] {
    const { table } = this
    return Array.from(table.live.subarray(0, table.liveCount), slot => ({
      address: table.address(slot)!,
      state: table.endpointState[slot] === EndpointState.READY ? ('ready' as const) : ('unreachable' as const),
      scrapedAt: table.scrapedAt[slot]!,
      waiting: table.waiting[slot]!,
      running: table.running[slot]!,
      kvUsage: table.kvUsage[slot]!,
      inFlight: table.inFlight(slot),
      models: this.#served.of(slot),
    }))
  }

  /** An endpoint is back: what it was is gone with its cache, and that it did not answer is explained. */
  #returned(slot: number): void {
    this.table.counters.answered(slot)
    this.#flow?.signal()
    this.#prefixes.lost(slot)
    if (this.#checkListed()) this.#options.onModels?.(this)
  }

  /** Tells whether it changed. */
  #checkListed(): boolean {
    const before = this.#allListed
    const { table } = this
    let listed = 0
    let missing = 0
    for (let i = 0; i < table.liveCount; i++) {
      const slot = table.live[i]!
      if (this.#served.listed(slot)) listed++
      else if (table.endpointState[slot] !== EndpointState.UNREACHABLE) missing++
    }
    this.#allListed = missing === 0 && listed > 0
    return this.#allListed !== before
  }
}
