import type { AskedModel } from './asked-model.ts'
import { tellBurst } from './bursts/tell-burst.ts'
import type { EndpointTable } from './endpoint-table.ts'
import { FurtherPrefixCaches } from './further-prefix-caches.ts'
import { KvMatcher } from './kv-events/kv-matcher.ts'
import type { PickRequest } from './pick.ts'
import type { SchedulingPlan } from './pool-plan.ts'
import type { PoolModels, PoolShare } from './pool-share.ts'
import { PrefixIndex } from './prefix-index.ts'
import { PrefixLog } from './prefix-log.ts'
import type { Candidates } from './scheduling/candidates.ts'
import { toWholeBlocks } from './whole-blocks.ts'

/**
 * What a pool knows of its endpoints' prompt caches: the approximate index of what we sent there, further ones with other block sizes, and what
 * engines tell themselves. Looked up once a pick (`match`); what was looked up is then told to candidates (`share`) and noted (`record`).
 */
export class PromptCaches {
  readonly #table: EndpointTable
  #scheduling!: SchedulingPlan
  #index: PrefixIndex | undefined
  #log: PrefixLog | undefined
  #kv: KvMatcher | undefined
  readonly #further = new FurtherPrefixCaches()
  #matched = new Int32Array(0)
  // Of the pick under way.
  #request!: PickRequest
  /** The index knows such prompts. */
  #usesIndex = false
  #seed = 0
  #longestMatch = 0

  constructor(table: EndpointTable) {
    this.#table = table
  }

  /** The table has the share's endpoints already. */
  adopt(share: Pick<PoolShare, 'plan' | 'index' | 'furtherIndexes' | 'prefixLog'>, candidates: Candidates): void {
    const { plan, index, furtherIndexes = [], prefixLog } = share
    const { capacity, counters } = this.#table
    const { prefixCaches = [], kvEvents, bursts } = plan.scheduling
    this.#scheduling = plan.scheduling
    this.#matched = new Int32Array(Math.ceil(capacity / 32) * 32)
    if (index === undefined) this.#index = undefined
    else if (index !== 'known') this.#index = new PrefixIndex(index)
    this.#log = prefixLog === undefined ? undefined : new PrefixLog(prefixLog, counters.thread)
    const caches = prefixCaches.slice(0, furtherIndexes.length)
    this.#further.adopt(caches, furtherIndexes, capacity)
    const names = caches.map(({ name }) => name)
    if (kvEvents !== undefined) names.push(kvEvents.producer)
    if (bursts !== undefined) names.push(bursts.producer)
    candidates.setProducers(names)
  }

  adoptKv(kv: PoolModels['kv']): void {
    const { kvEvents } = this.#scheduling
    this.#kv = kv === undefined || kvEvents === undefined ? undefined : new KvMatcher(kvEvents, kv)
  }

  /** Looks up what endpoints have of the prompt. */
  match(request: PickRequest, model: AskedModel): void {
    const { prefix } = request
    const index = this.#index
    this.#request = request
    this.#longestMatch = 0
    this.#usesIndex = false
    if (this.#kv !== undefined) this.#kv.match(request, model.adapterName)
    if (index === undefined || prefix === undefined || prefix.count === 0) return
    this.#usesIndex = true
    this.#seed = model.seed(request.salt ?? '')
    this.#longestMatch = index.match(prefix, this.#seed, this.#matched)
    if (this.#longestMatch > 0 && this.#scheduling.prefixAutoTune === true)
      toWholeBlocks(this.#matched, prefix.blockBytes, this.#table)
    this.#further.match(prefix, this.#seed, this.#table)
  }

  /** Tells the candidates what `match` has found. */
  share(candidates: Candidates): void {
    if (this.#longestMatch > 0) this.#shareIndex(candidates)
    if (this.#kv !== undefined) this.#kv.share(candidates, candidates.matchOf(this.#scheduling.kvEvents!.producer))
    if (this.#usesIndex) this.#further.share(candidates, this.#request)
    const { bursts } = this.#scheduling
    if (bursts !== undefined) tellBurst(candidates, this.#request, bursts, this.#table)
  }

  /** Bytes of the prompt that the slot's endpoint presumably has. */
  cachedBytes(slot: number): number {
    const told = this.#kv?.cachedBytes(slot) ?? 0
    return told > 0 || this.#longestMatch === 0 ? told : this.#matched[slot]! * this.#request.prefix!.blockBytes
  }

  /** The endpoint is about to hold all blocks of the prompt that was matched last. */
  record(slot: number): void {
    if (this.#usesIndex) {
      const prefix = this.#request.prefix!
      this.#index!.record(prefix, this.#seed, slot)
      if (this.#log !== undefined)
        this.#log.note(prefix, this.#seed, slot, this.#table.generation[slot]!, this.#request.promptBytes)
      this.#further.record(this.#seed, slot)
    }
    if (this.#kv !== undefined) this.#kv.record(slot)
  }

  /** Shares of the whole prompt: its incomplete last block counts as one that nobody has (epp.md §3.7). */
  #shareIndex(candidates: Candidates): void {
    const { promptBytes } = this.#request
    const { count, blockBytes, maxBlocks } = this.#request.prefix!
    const bytes = Math.min(promptBytes, maxBlocks * blockBytes)
    const blocks = Math.max(count, Math.ceil(bytes / blockBytes))
    const matched = this.#matched
    const { slots, prefix } = candidates
    candidates.prefixBytes = blocks * blockBytes
    for (let i = 0; i < candidates.count; i++) prefix[i] = matched[slots[i]!]! / blocks
  }
}
