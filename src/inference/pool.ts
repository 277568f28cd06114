/**
 * One InferencePool on a thread that decides: endpoint table, prefix index and scheduling profile. `pick` is synchronous and allocates
 * nothing in the steady state. Endpoints and models come from the main thread (./pool-keeper.ts) by `adopt` and `adoptModels`, what
 * scrapers learn by shared memory.
 *
 * Budget of a pick, default scorers, 64 prefix blocks (`test/bench/pick.bench.ts`): 8 endpoints in 5 µs, 100 in 15 µs.
 */
import { adapterId } from './adapter-id.ts'
import { AddressLists } from './address-lists.ts'
import { EndpointState, EndpointTable, type EndpointTableOptions } from './endpoint-table.ts'
import { KvMatcher } from './kv-events/kv-matcher.ts'
import type { FlowClock } from './flow-control/flow-control.ts'
import { PoolGate } from './flow-control/pool-gate.ts'
import { FurtherPrefixCaches } from './further-prefix-caches.ts'
import type { ServedModel } from './model-list.ts'
import { type PickRequest, type PickResult, PickStatus, type Placement, MAX_ENDPOINTS } from './pick.ts'
import { Step } from './pick-times.ts'
import type { PoolPlan } from './pool-plan.ts'
import type { PoolModels, PoolShare } from './pool-share.ts'
import type { PrefixHasher } from './prefix-hasher.ts'
import { PrefixIndex, prefixSeed } from './prefix-index.ts'
import { PrefixLog } from './prefix-log.ts'
import { PrimaryAddresses } from './primary-addresses.ts'
import { BYTES_PER_TOKEN, Candidates } from './scheduling/candidates.ts'
import type { Profile } from './scheduling/profile.ts'
import type { ProfileRunner } from './scheduling/profile-handler.ts'
import { Profiles } from './scheduling/profiles.ts'
import { Random } from './scheduling/random.ts'
import { SessionTokens } from './session-tokens.ts'
import { ServedModels } from './served-models.ts'
import { SubsetHint } from './subset-hint.ts'

export { type PickRequest, PickResult, PickStatus } from './pick.ts'

/** Puts saturated endpoints behind all others. */
const SATURATED_PENALTY = 1e6
export interface PoolOptions extends EndpointTableOptions {
  /** Seed of the tie-breaks. Threads need different ones. */
  readonly seed?: number
  /** Default: those of the process. */
  readonly clock?: FlowClock
}

const CLOCK: FlowClock = { nowMs: Date.now, monotonicMs: () => performance.now() }

export class Pool implements ProfileRunner {
  readonly table: EndpointTable
  /** Whoever picks asks here first whether the request may go on. */
  readonly gate: PoolGate
  #plan!: PoolPlan
  #profiles!: Profiles
  #index: PrefixIndex | undefined
  #kv: KvMatcher | undefined
  readonly #further = new FurtherPrefixCaches()
  readonly #candidates = new Candidates()
  readonly #subset = new SubsetHint()
  readonly #served = new ServedModels()
  readonly #random: Random
  #total = new Float64Array(0)
  #matched = new Int32Array(0)
  readonly #picked = new Int32Array(MAX_ENDPOINTS)
  readonly #lists = new AddressLists()
  readonly #primaryAddresses = new PrimaryAddresses()
  // Of the pick under way.
  #request!: PickRequest
  #usesPrefix = false
  #seed = 0
  #prefixLog: PrefixLog | undefined
  readonly #thread: number
  #longestMatch = 0
  /** The candidates are all that may serve the request: no filter has been at them. */
  #gathered = false
  #allListed = false

  /** @throws UnknownScorerError, RangeError */
  constructor(share: PoolShare, options: PoolOptions) {
    this.table = new EndpointTable(options, memory(share.table), share.slots)
    this.#thread = options.thread
    this.#random = new Random(options.seed ?? 1)
    this.gate = new PoolGate(this.table, options.thread, options.clock ?? CLOCK)
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
  adopt({
    plan,
    slots,
    table: state,
    index,
    furtherIndexes = [],
    models,
    memory: remembered,
    flow,
    prefixLog,
  }: PoolShare): void {
    const profiles = new Profiles(plan.scheduling)
    const { table } = this
    table.adopt(state === 'known' ? table.state : state, slots)
    const { capacity } = table
    table.attributeNames = plan.scrape.attributes ?? []
    const { sessionHeaders } = plan.scheduling
    table.sessionTokens = sessionHeaders === undefined ? undefined : new SessionTokens(plan.name, plan.endpoints, table)
    this.#plan = plan
    this.#profiles = profiles
    profiles.reserve(capacity)
    profiles.adopt(table, remembered)
    this.#candidates.reserve(capacity)
    this.#candidates.produced = !profiles.producers.isEmpty
    this.#total = new Float64Array(capacity)
    this.#matched = new Int32Array(Math.ceil(capacity / 32) * 32)
    this.#subset.update(table)
    this.#lists.clear()
    this.#primaryAddresses.clear()
    if (index === undefined) this.#index = undefined
    else if (index !== 'known') this.#index = new PrefixIndex(index)
    this.#prefixLog = prefixLog === undefined ? undefined : new PrefixLog(prefixLog, this.#thread)
    const caches = (plan.scheduling.prefixCaches ?? []).slice(0, furtherIndexes.length)
    this.#further.adopt(caches, furtherIndexes, capacity)
    const { kvEvents } = plan.scheduling
    this.#candidates.setProducers(
      [...caches, ...(kvEvents === undefined ? [] : [{ name: kvEvents.producer }])].map(each => each.name),
    )
    this.adoptModels(models)
    this.gate.adopt(plan, flow)
  }

  adoptModels({ lists, allListed, kv }: PoolModels): void {
    const { kvEvents } = this.#plan.scheduling
    this.#kv = kv === undefined || kvEvents === undefined ? undefined : new KvMatcher(kvEvents, kv)
    this.#served.replace(lists, this.table.capacity)
    this.#allListed = allListed
  }

  /** The pool has gone; entries of earlier plans that still name it find no endpoints. */
  close(): void {
    const { plan, table } = this
    this.gate.close()
    const { flowControl: _flow, admission: _admission, ...scheduling } = plan.scheduling
    this.adopt({
      plan: { ...plan, endpoints: [], scheduling },
      slots: [],
      table: table.state,
      index: undefined,
      models: { lists: [], allListed: false },
      memory: new SharedArrayBuffer(4 * this.#profiles.sharedWords(table.capacity)),
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
    this.#gather(-1)
    if (this.#candidates.count === 0) return PickStatus.NO_ENDPOINTS
    this.#match(request)
    const status = handler === undefined ? this.#choose(primary, out) : handler.pick(this, request, out)
    if (status !== PickStatus.OK) return status
    const slot = out.slots[0]!
    if (request.onlyCached === true && this.cachedBytes(slot) === 0) return PickStatus.NOT_CACHED
    this.table.decide(slot, out.tokens)
    if (this.#usesPrefix) this.#recordPrefix(request.prefix!, slot)
    this.#kv?.record(slot)
    if (out.isStaged) this.#decideStages(out)
    return PickStatus.OK
  }

  /** For profile handlers, during a pick. */
  run(profile: number, peer: number, out: Placement): PickStatus {
    if (!this.#gathered) this.#gather(peer)
    return this.#choose(this.#profiles.all[profile]!, out)
  }

  /** For profile handlers, during a pick. */
  cachedBytes(slot: number): number {
    const told = this.#kv?.cachedBytes(slot) ?? 0
    return told > 0 || this.#longestMatch === 0 ? told : this.#matched[slot]! * this.#request.prefix!.blockBytes
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

  /** The request's own replica has computed its prompt: those of its tokens are not in flight any more. */
  releasePrompt(result: PickResult): void {
    const tokens = result.tokens - result.answerTokens
    if (tokens <= 0) return
    this.table.releaseTokens(result.slots[0]!, result.generations[0]!, tokens)
    result.tokens = result.answerTokens
  }

  /** What names the first endpoint of a placement to clients; undefined: there is none, or it has gone. */
  sessionToken({ count, slots, generations }: Placement): string | undefined {
    const slot = slots[0]!
    if (count === 0 || this.table.generation[slot] !== generations[0]) return undefined
    return this.table.sessionTokens?.of(slot)
  }

  /** The response to a picked request has ended. Counts only where `releaseBy` is `response`. */
  release(slot: number, generation: number, tokens?: number): void {
    if (this.table.releaseBy !== 'response') return
    this.table.release(slot, generation, tokens)
    this.gate.freed()
  }

  /**
   * The data plane says that `address` serves the request of this pick: after a retry not the first of the list. The count moves
   * there, unless an access log entry will release it where it was picked (`logged`). Returns whether it was another endpoint; one
   * that the pool does not have is ignored.
   */
  served(result: PickResult, address: string, logged = true, nowMs = Date.now()): boolean {
    const { table } = this
    // The address is that of the replica, whichever rank of it serves.
    if (this.primaryPort !== undefined) return false
    const slot = table.slotOf(address)
    if (slot !== undefined) this.#noteServed(result, slot, nowMs)
    if (slot === undefined || slot === result.slots[0] || result.count === 0) return false
    if (table.releaseBy === 'response' || (table.releaseBy === 'access-log' && !logged)) {
      table.release(result.slots[0]!, result.generations[0]!, result.tokens)
      table.decide(slot, result.tokens)
    }
    result.slots[0] = slot
    result.generations[0] = table.generation[slot]!
    return true
  }

  /** Those of the list before the one that serves did not answer: they are avoided for a while. */
  #noteServed({ slots, generations, count }: PickResult, served: number, nowMs: number): void {
    const { table } = this
    table.counters.answered(served)
    for (let place = 0; place < count && slots[place] !== served; place++) {
      const slot = slots[place]!
      if (table.currentGeneration[slot] === generations[place]) table.counters.missed(slot, nowMs)
    }
  }

  /**
   * A picked request of which no access log entry will tell: its decision was never sent, or a gateway carried it that is not ours
   * and its response has ended. Counts unless scrapes release.
   */
  releaseUnlogged(slot: number, generation: number, tokens?: number): void {
    this.table.release(slot, generation, tokens)
    this.gate.freed()
  }

  /** The request's end will not be seen: the count falls with the first good scrape that begins once it has had time to arrive. */
  releaseOnceSeen(slot: number, generation: number): void {
    this.table.releaseOnceSeen(slot, generation)
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
  #gather(peer: number): void {
    const { table } = this
    const request = this.#request
    const candidates = this.#candidates
    const subset = this.#subset
    const limited = request.subset !== undefined
    if (request.subset !== undefined) subset.mark(request.subset, table)
    const serving = this.#served.slotsOf(request.model)
    const freshSince = request.nowMs - this.#plan.scrape.staleMs
    candidates.clear()
    candidates.peer = peer
    candidates.headers = request.headers
    const { slots } = candidates
    const { live, liveCount, endpointState } = table
    let count = 0
    for (let i = 0; i < liveCount; i++) {
      const slot = live[i]!
      if (endpointState[slot] !== EndpointState.READY) continue
      if (limited && !subset.has(slot)) continue
      // An endpoint that has not listed its models yet may well serve this one.
      if (serving !== undefined && serving[slot] !== 1 && this.#served.listed(slot)) continue
      slots[count++] = slot
    }
    candidates.count = table.counters.mayAvoid(request.nowMs) ? this.#avoidOutliers(count, request.nowMs) : count
    candidates.load(table, freshSince)
    this.#gathered = true
  }

  /** Looks up what endpoints have of the prompt. */
  #match(request: PickRequest): void {
    const { prefix, model, salt = '' } = request
    // A model that nobody has listed is no adapter that we know of.
    this.#kv?.match(request, this.#served.isBase(model) || !this.#served.knows(model) ? '' : model)
    const index = this.#index
    this.#usesPrefix = index !== undefined && prefix !== undefined && prefix.count > 0
    this.#longestMatch = 0
    if (!this.#usesPrefix) return
    this.#seed = prefixSeed(model, salt)
    this.#longestMatch = index!.match(prefix!, this.#seed, this.#matched)
    this.#further.match(prefix!, this.#seed)
  }

  /** The endpoint is about to hold all blocks of the prompt. */
  #recordPrefix(prefix: PrefixHasher, slot: number): void {
    this.#index!.record(prefix, this.#seed, slot)
    this.#prefixLog?.note(prefix, this.#seed, slot, this.table.generation[slot]!)
    this.#further.record(this.#seed, slot)
  }

  /** Filters, scores and picks among the candidates; no count rises. */
  #choose(profile: Profile, out: Placement): PickStatus {
    const { table } = this
    const candidates = this.#candidates
    const request = this.#request
    const base = request.model === '' || this.#served.isBase(request.model)
    candidates.adapter = base ? 0 : adapterId(request.model)
    candidates.promptBytes = request.promptBytes
    candidates.promptTokens = Math.ceil((request.promptSize ?? request.promptBytes) / BYTES_PER_TOKEN)
    candidates.nowMs = request.nowMs
    if (this.#longestMatch > 0) this.#sharePrefix(request.prefix!, request.promptBytes)
    this.#kv?.share(candidates, candidates.matchOf(this.#plan.scheduling.kvEvents!.producer))
    if (this.#usesPrefix) this.#further.share(candidates, request)
    const { producers } = this.#profiles
    producers.produce(candidates, table)
    if ((request.priority ?? 0) < 0 && !this.#admits()) return PickStatus.NOT_ADMITTED

    this.#gathered = false
    const { times } = request
    request.record?.begin(candidates, table)
    times?.begin(profile.name, candidates.count)
    profile.filter(candidates, table, times)
    const { count } = candidates
    times?.filtered(count)
    if (count === 0) return PickStatus.FILTERED
    const total = this.#total
    profile.rank(candidates, table, total, times)
    request.record?.ranked(profile, candidates, table, total)
    if (this.#setSaturatedBack()) return PickStatus.SATURATED

    const picked = this.#picked
    out.count = profile.pick(total, count, profile.maxEndpoints, this.#random, picked, out.scores)
    times?.lap(Step.PICKER, profile.pickerType)
    for (let place = 0; place < out.count; place++) {
      const slot = candidates.slots[picked[place]!]!
      out.slots[place] = slot
      out.generations[place] = table.generation[slot]!
    }
    out.reason = count === 1 ? 'only-endpoint' : profile.reason(picked[0]!)
    out.tokens = producers.tokensOf(candidates, picked[0]!)
    out.answerTokens = producers.answerTokensOf(candidates)
    request.record?.picked(out, table)
    profile.chosen(candidates, table, picked[0]!)
    producers.chosen(candidates, table, picked[0]!)
    return PickStatus.OK
  }

  #admits(): boolean {
    const { admitters } = this.#profiles
    for (let a = 0; a < admitters.length; a++) if (!admitters[a]!.admits(this.#candidates)) return false
    return true
  }

  /** The other replicas that take part are counted too; the prompt's blocks will be where it is computed. */
  #decideStages({ prefill, encode }: PickResult): void {
    for (let place = 0; place < encode.count; place++) this.table.decide(encode.slots[place]!)
    if (prefill.count === 0) return
    const slot = prefill.slots[0]!
    this.table.decide(slot, prefill.tokens)
    if (this.#usesPrefix) this.#recordPrefix(this.#request.prefix!, slot)
    this.#kv?.record(slot)
  }

  /** Drops the endpoints that did not answer lately from the first `count` slots, unless no other is left. Returns how many are. */
  #avoidOutliers(count: number, nowMs: number): number {
    const { slots } = this.#candidates
    const { counters } = this.table
    let avoided = 0
    for (let i = 0; i < count; i++) if (counters.isAvoided(slots[i]!, nowMs)) avoided++
    if (avoided === 0 || avoided === count) return count
    let kept = 0
    for (let i = 0; i < count; i++) if (!counters.isAvoided(slots[i]!, nowMs)) slots[kept++] = slots[i]!
    return kept
  }

  /** Shares of the whole prompt: its incomplete last block counts as one that nobody has (epp.md §3.7). */
  #sharePrefix(prefix: PrefixHasher, promptBytes: number): void {
    const candidates = this.#candidates
    const bytes = Math.min(promptBytes, prefix.maxBlocks * prefix.blockBytes)
    const blocks = Math.max(prefix.count, Math.ceil(bytes / prefix.blockBytes))
    candidates.prefixBytes = blocks * prefix.blockBytes
    for (let i = 0; i < candidates.count; i++) candidates.prefix[i] = this.#matched[candidates.slots[i]!]! / blocks
  }

  /** Puts endpoints with a full queue last. True when all are full. */
  #setSaturatedBack(): boolean {
    const { maxQueue } = this.#plan.scheduling
    if (maxQueue <= 0) return false
    const { count, waiting, unseen } = this.#candidates
    let saturated = 0
    for (let i = 0; i < count; i++) {
      // Where requests wait, those that no scrape has seen wait too; elsewhere they may just run.
      if (waiting[i] === 0 || waiting[i]! + unseen[i]! < maxQueue) continue
      saturated++
      this.#total[i]! -= SATURATED_PENALTY
    }
    return saturated === count
  }
}

function memory<T extends object>(given: T | 'known'): T {
  if (given === 'known') throw new RangeError('the first share of a pool needs its memory')
  return given
}
