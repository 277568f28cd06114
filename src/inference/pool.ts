/**
 * One InferencePool on a thread that decides: endpoint table, prefix index and scheduling profile. `pick` is synchronous and allocates
 * nothing in the steady state. Endpoints and models come from the main thread (./pool-keeper.ts) by `adopt` and `adoptModels`, what
 * scrapers learn by shared memory.
 *
 * Budget of a pick with a prompt of 4 KB, llm-d's default profile or ours (`test/bench/pick.bench.ts`): 10 endpoints in 2 µs, 100 in 8 µs;
 * what a plan does not use costs it a test of a boolean.
 */
import { HeldBudget } from '../extproc/held-budget.ts'
import { AddressLists } from './address-lists.ts'
import { AskedModel } from './asked-model.ts'
import { BurstWindow } from './bursts/burst-window.ts'
import { burstSlotOf } from './bursts/tell-burst.ts'
import { EligibleEndpoints } from './eligible-endpoints.ts'
import { EndpointTable, type EndpointTableOptions } from './endpoint-table.ts'
import type { FlowClock } from './flow-control/flow-control.ts'
import { PoolGate } from './flow-control/pool-gate.ts'
import type { ServedModel } from './model-list.ts'
import { type PickRequest, type PickResult, PickStatus, type Placement } from './pick.ts'
import { PoolInFlight } from './pool-in-flight.ts'
import type { PoolPlan } from './pool-plan.ts'
import type { PoolModels, PoolShare } from './pool-share.ts'
import { PrimaryAddresses } from './primary-addresses.ts'
import { PromptCaches } from './prompt-caches.ts'
import { BYTES_PER_TOKEN, Candidates } from './scheduling/candidates.ts'
import { PluginMemory } from './scheduling/plugin-memory.ts'
import { Placer } from './scheduling/placer.ts'
import type { Profile } from './scheduling/profile.ts'
import type { ProfileRunner } from './scheduling/profile-handler.ts'
import { Profiles } from './scheduling/profiles.ts'
import { SessionTokens } from './session-tokens.ts'
import { ServedModels } from './served-models.ts'

export { type PickRequest, PickResult, PickStatus } from './pick.ts'

export interface PoolOptions extends EndpointTableOptions {
  /** Seed of the tie-breaks. Threads need different ones. */
  readonly seed?: number
  /** Default: those of the process. */
  readonly clock?: FlowClock
}

const CLOCK: FlowClock = { nowMs: Date.now, monotonicMs: () => performance.now() }

/** Whether a request begins, as screeners are told (`Screener.begin`). */
const Begin = { NOT: 0, AHEAD: 1, PICK: 2 } as const
type Begin = (typeof Begin)[keyof typeof Begin]

export class Pool implements ProfileRunner {
  readonly table: EndpointTable
  /** Whoever picks asks here first whether the request may go on. */
  readonly gate: PoolGate
  /** What picks have counted. */
  readonly inFlight: PoolInFlight
  /** Where requests wait for others with their prompt before they ask the gate; undefined: they don't. */
  bursts: BurstWindow | undefined
  /** Of bodies that are held for the pool; undefined: it has no limit of its own. */
  held: HeldBudget | undefined
  #plan!: PoolPlan
  #profiles!: Profiles
  readonly #candidates = new Candidates()
  /** Scratch of screeners. */
  #kept = new Uint8Array(0)
  readonly #served = new ServedModels()
  readonly #eligible: EligibleEndpoints
  readonly #caches: PromptCaches
  readonly #placer: Placer
  readonly #lists = new AddressLists()
  readonly #primaryAddresses = new PrimaryAddresses()
  #allListed = false
  readonly #thread: number
  // Of the pick under way.
  #request!: PickRequest
  readonly #model = new AskedModel(this.#served)
  /** The candidates are all that may serve the request: no filter has been at them. */
  #gathered = false

  /** @throws UnknownScorerError, RangeError */
  constructor(share: PoolShare, options: PoolOptions) {
    this.table = new EndpointTable(options, memory(share.table), share.slots)
    this.#thread = options.thread
    this.#eligible = new EligibleEndpoints(this.table, this.#served)
    this.#caches = new PromptCaches(this.table)
    this.#placer = new Placer(this.table, options.seed ?? 1)
    this.gate = new PoolGate(this.table, options.thread, options.clock ?? CLOCK)
    this.inFlight = new PoolInFlight(this.table, this.gate)
    this.adopt(share)
  }

  get plan(): PoolPlan {
    return this.#plan
  }

  /** See `PoolModels.allListed`. */
  get allListed(): boolean {
    return this.#allListed
  }

  /** Goes over to a share of the same keeper. Nothing changes when it throws. */
  adopt(share: PoolShare): void {
    const { plan, slots, table: state, models, memory: remembered = [], flow } = share
    const profiles = new Profiles(plan.scheduling)
    const { table } = this
    table.adopt(state === 'known' ? table.state : state, slots)
    table.attributeNames = plan.scrape.attributes ?? []
    const { sessionHeaders } = plan.scheduling
    table.sessionTokens = sessionHeaders === undefined ? undefined : new SessionTokens(plan.name, plan.endpoints, table)
    this.#plan = plan
    this.#profiles = profiles
    profiles.reserve(table.capacity)
    profiles.adopt(table, remembered)
    this.#candidates.reserve(table.capacity)
    this.#kept = new Uint8Array(profiles.screeners.length === 0 ? 0 : table.capacity)
    this.#candidates.heardOnly = plan.scrape.off === true && plan.scrape.orca === true
    this.#candidates.produced = !profiles.producers.isEmpty
    this.#placer.adopt(plan.scheduling.maxQueue)
    this.#eligible.adopt()
    this.#lists.clear()
    this.#primaryAddresses.clear()
    this.#caches.adopt(share, this.#candidates)
    this.adoptModels(models)
    this.gate.adopt(plan, flow)
    this.inFlight.hasRanks = this.primaryPort !== undefined
    this.#adoptBursts(plan.scheduling)
    const limit = plan.limits?.heldBytes
    this.held =
      limit === undefined || share.held === undefined ? undefined : new HeldBudget(limit, share.held, this.#thread)
  }

  adoptModels({ lists, allListed, kv }: PoolModels): void {
    this.#caches.adoptKv(kv)
    this.#served.replace(lists, this.table.capacity)
    this.#model.forget()
    this.#allListed = allListed
  }

  /** Those that wait in a window that is given up go on when its time has come. */
  #adoptBursts({ bursts }: PoolPlan['scheduling']): void {
    if (JSON.stringify(bursts) === JSON.stringify(this.bursts?.plan)) return
    this.bursts = bursts === undefined ? undefined : new BurstWindow(bursts, this)
  }

  /** The pool has gone; entries of earlier plans that still name it find no endpoints. */
  close(): void {
    const { plan, table } = this
    this.gate.close()
    const { flowControl: _flow, admission: _admission, ...scheduling } = plan.scheduling
    const { limits: _limits, ...rest } = plan
    this.adopt({
      plan: { ...rest, endpoints: [], scheduling },
      slots: [],
      table: table.state,
      index: undefined,
      models: { lists: [], allListed: false },
      memory: new PluginMemory().update(this.#profiles.plugins, table.capacity),
    })
  }

  /**
   * Ranks the endpoints that may serve the request, counts it at the best one and notes the prompt's blocks there; and the same for further
   * replicas that take part in it (`out.prefill`, `out.encode`). `out` is only valid with OK; then the counts must fall again as
   * `releaseBy` says.
   */
  pick(request: PickRequest, out: PickResult): PickStatus {
    const { handler, primary } = this.#profiles
    out.clear()
    this.#request = request
    this.#model.ask(request.model)
    this.#gather(-1, Begin.PICK)
    if (this.#candidates.count === 0) return PickStatus.NO_ENDPOINTS
    this.#caches.match(request, this.#model)
    const status = handler === undefined ? this.#choose(primary, out) : handler.pick(this, request, out)
    if (status !== PickStatus.OK) return status
    const slot = out.slots[0]!
    if (request.onlyCached === true && this.#caches.cachedBytes(slot) === 0) return PickStatus.NOT_CACHED
    this.table.decide(slot, out.tokens)
    this.#caches.record(slot)
    if (out.isStaged) this.#decideStages(out)
    return PickStatus.OK
  }

  /** The endpoints that a profile would rank for a request, with their loads; valid until the next pick. Not during one. */
  candidatesFor(request: PickRequest, profile: number): Candidates {
    const candidates = this.#candidates
    this.#request = request
    this.#model.ask(request.model)
    this.#gather(-1, Begin.AHEAD)
    if (candidates.count === 0) return candidates
    this.#caches.match(request, this.#model)
    this.#inform()
    this.#profiles.all[profile]!.filter(candidates, this.table)
    return candidates
  }

  /** For profile handlers, during a pick. */
  run(profile: number, peer: number, out: Placement): PickStatus {
    if (!this.#gathered) this.#gather(peer)
    return this.#choose(this.#profiles.all[profile]!, out)
  }

  /** For profile handlers, during a pick. */
  cachedBytes(slot: number): number {
    return this.#caches.cachedBytes(slot)
  }

  /** The result's endpoints as Envoy wants them: `a:1,b:2`. Must be called before the next `update`. */
  addresses(result: PickResult): string {
    const port = this.#profiles.handler?.primaryPort
    // A list would lead a retry to a replica that does not have the rank.
    if (port !== undefined) return this.#primaryAddresses.of(result.slots[0]!, port, this.table)
    return this.listOf(result)
  }

  /** A placement's endpoints, as a list of addresses. */
  listOf({ slots, count }: Placement): string {
    return this.#lists.text(slots, count, this.table)
  }

  /** Requests go to this port, and a header tells the chosen endpoint's own address; undefined: to the endpoint itself. */
  get primaryPort(): number | undefined {
    return this.#profiles.handler?.primaryPort
  }

  /** `ip:port` of a slot, empty when it is free. */
  addressOf(slot: number): string {
    return this.table.address(slot) ?? ''
  }

  /** Another endpoint that the replica which computes the prompt may fetch it from; '' = none. Right after the pick. */
  kvSource({ slots, prefill }: PickResult): string {
    const source = this.#profiles.producers.sourceFor(prefill.count > 0 ? prefill.slots[0]! : slots[0]!)
    return source < 0 ? '' : this.addressOf(source)
  }

  /** What names the first endpoint of a placement to clients; undefined: there is none, or it has gone. */
  sessionToken({ count, slots, generations }: Placement): string | undefined {
    const slot = slots[0]!
    if (count === 0 || this.table.generation[slot] !== generations[0]) return undefined
    return this.table.sessionTokens?.of(slot)
  }

  /** Every model that some endpoint lists, sorted by id. */
  models(): readonly ServedModel[] {
    return this.#served.all
  }

  knows(model: string): boolean {
    return this.#served.knows(model)
  }

  /** Asks for the endpoints' models to be read soon; the scraper limits how often it does. */
  relist(): void {
    Atomics.store(this.table.relist, 0, 1)
  }

  /** The endpoints that may serve the request. */
  #gather(peer: number, begin: Begin = Begin.NOT): void {
    const candidates = this.#candidates
    candidates.clear()
    candidates.peer = peer
    candidates.headers = this.#request.headers
    candidates.burst = burstSlotOf(this.#request, this.table)
    this.#eligible.gather(this.#request, this.#model, this.#plan.scrape.staleMs, candidates)
    this.#gathered = true
    if (this.#profiles.screeners.length > 0) this.#screen(begin)
  }

  /** Leaves out what may not serve the request, in any of its profiles. */
  #screen(begin: Begin): void {
    const { screeners } = this.#profiles
    const candidates = this.#candidates
    for (let s = 0; s < screeners.length; s++) {
      if (begin !== Begin.NOT) screeners[s]!.begin(candidates, begin === Begin.AHEAD)
      this.#kept.fill(1, 0, candidates.count)
      screeners[s]!.screen(candidates, this.#kept)
      candidates.keep(this.#kept)
    }
  }

  /** Filters, scores and picks among the candidates; no count rises. */
  #choose(profile: Profile, out: Placement): PickStatus {
    const request = this.#request
    this.#inform()
    if (this.#profiles.admitters.length > 0 && !this.#admits(request.priority ?? 0)) return PickStatus.NOT_ADMITTED
    this.#gathered = false
    return this.#placer.place(profile, this.#profiles.producers, request, this.#candidates, out)
  }

  /** Tells the candidates all that filters and scorers look at. */
  #inform(): void {
    const candidates = this.#candidates
    const request = this.#request
    candidates.adapter = this.#model.adapter
    candidates.promptBytes = request.promptBytes
    candidates.promptTokens = Math.ceil((request.promptSize ?? request.promptBytes) / BYTES_PER_TOKEN)
    candidates.outputCap = request.outputCap ?? Number.POSITIVE_INFINITY
    candidates.nowMs = request.nowMs
    candidates.mediaHashes = request.media
    this.#caches.share(candidates)
    this.#profiles.producers.produce(candidates, this.table)
  }

  #admits(priority: number): boolean {
    const { admitters } = this.#profiles
    for (let a = 0; a < admitters.length; a++) {
      const admitter = admitters[a]!
      if ((priority < 0 || admitter.asksAll === true) && !admitter.admits(this.#candidates, priority)) return false
    }
    return true
  }

  /** The other replicas that take part are counted too; the prompt's blocks will be where it is computed. */
  #decideStages({ prefill, encode }: PickResult): void {
    for (let place = 0; place < encode.count; place++) this.table.place(encode.slots[place]!)
    if (prefill.count === 0) return
    const slot = prefill.slots[0]!
    this.table.place(slot, prefill.tokens)
    this.#caches.record(slot)
  }
}

function memory<T extends object>(given: T | 'known'): T {
  if (given === 'known') throw new RangeError('the first share of a pool needs its memory')
  return given
}
