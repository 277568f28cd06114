/** What a thread that picks does with a pool's KV index: looks up what endpoints hold of a request's tokens, and tells what they will. */
import type { PickRequest } from '../pick.ts'
import type { Candidates, PrefixMatch } from '../scheduling/candidates.ts'
import type { KvEventsPlan } from './kv-events-plan.ts'
import { KvIndex } from './kv-index.ts'
import type { KvIndexState } from './kv-index-state.ts'
import { SpeculativeIndex } from './speculative-index.ts'

/** What the main thread gives the others. */
export interface KvShare {
  readonly index: KvIndexState
  /** Absent: nothing is believed before engines tell. */
  readonly speculative?: SharedArrayBuffer
}

/** As everybody estimates; the scorers' measure of lengths. */
const BYTES_PER_TOKEN = 4

export class KvMatcher {
  readonly #plan: KvEventsPlan
  readonly #index: KvIndex
  readonly #speculative: SpeculativeIndex | undefined
  readonly #matched: Float64Array
  // Of the request under way.
  #request: PickRequest | undefined
  #adapter = ''
  #bytes = 0

  constructor(plan: KvEventsPlan, { index, speculative }: KvShare) {
    this.#plan = plan
    this.#index = new KvIndex(
      index,
      plan.tiers.map(({ weight }) => weight),
    )
    this.#matched = new Float64Array(index.slots)
    if (speculative !== undefined)
      this.#speculative = new SpeculativeIndex(speculative, index.slots, plan.speculativeTtlMs)
  }

  /** Looks the request up. `adapter`: the model, where it is one; '' else. */
  match(request: PickRequest, adapter: string): void {
    const { tokens, nowMs } = request
    this.#request = undefined
    if (tokens === undefined || tokens.count === 0) return
    const { blockTokens, hashSeed } = this.#plan
    let total = 0
    let start = 0
    for (let i = 0; i < tokens.ends.length; i++) {
      const end = tokens.ends[i]!
      total += end - start - ((end - start) % blockTokens)
      start = end
    }
    if (total === 0) return
    if (!this.#index.match(tokens, hashSeed, adapter, this.#matched, this.#speculative, nowMs)) return
    this.#request = request
    this.#adapter = adapter
    this.#bytes = total * BYTES_PER_TOKEN
  }

  /** Bytes of the prompt that the endpoint is told to hold, by estimate. */
  cachedBytes(slot: number): number {
    return this.#request === undefined ? 0 : this.#matched[slot]! * BYTES_PER_TOKEN
  }

  /**
   * Fills in the producer's answer. Where nothing could be looked up, it is what the approximate index says; and so it is for endpoints
   * that tell nothing of their caches.
   */
  share({ count, slots, prefix, prefixBytes }: Candidates, out: PrefixMatch): void {
    if (this.#request === undefined) {
      out.bytes = prefixBytes
      for (let i = 0; i < count; i++) out.share[i] = prefix[i]!
      return
    }
    const bytes = this.#bytes
    out.bytes = bytes
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!
      out.share[i] = this.#index.follows(slot)
        ? Math.min(1, (this.#matched[slot]! * BYTES_PER_TOKEN) / bytes)
        : prefix[i]!
    }
  }

  /** The request that was looked up goes to this endpoint. */
  record(slot: number): void {
    const request = this.#request
    if (request === undefined || this.#speculative === undefined) return
    const { hashSeed } = this.#plan
    this.#speculative.record(request.tokens!, hashSeed, this.#adapter, this.#index.unit, slot, request.nowMs)
  }
}
