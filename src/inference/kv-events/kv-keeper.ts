import type { KvEventsPlan } from './kv-events-plan.ts'
import { KvLedger } from './kv-ledger.ts'
import type { KvShare } from './kv-matcher.ts'
import { createSpeculativeMemory } from './speculative-index.ts'

/** The KV index of a pool on the main thread: there while the plan wants it. */
export class KvKeeper {
  readonly #onState: () => void
  #ledger: KvLedger | undefined
  #speculative: SharedArrayBuffer | undefined
  #slots = 0

  /** `onState`: threads must be given `share()` anew, because of what engines told and not of `update`. */
  constructor(onState: () => void) {
    this.#onState = onState
  }

  get ledger(): KvLedger | undefined {
    return this.#ledger
  }

  /** `freed`: slots whose endpoints have gone. What was learned stays as long as the plan is the same. */
  update(plan: KvEventsPlan | undefined, slots: number, freed: readonly number[]): void {
    if (plan === undefined) {
      this.#ledger = undefined
      this.#speculative = undefined
      return
    }
    if (this.#ledger === undefined || !isSame(this.#ledger.plan, plan)) {
      this.#ledger = new KvLedger(plan, { slots, onState: () => this.#onState() })
      this.#slots = 0
    }
    for (const slot of freed) this.#ledger.forget(slot)
    this.#ledger.reserve(slots)
    const capacity = this.#ledger.state.slots
    if (capacity === this.#slots) return
    this.#slots = capacity
    this.#speculative = plan.speculativeTtlMs === 0 ? undefined : createSpeculativeMemory(capacity)
  }

  share(): KvShare | undefined {
    if (this.#ledger === undefined) return undefined
    const speculative = this.#speculative
    return { index: this.#ledger.state, ...(speculative === undefined ? {} : { speculative }) }
  }
}

function isSame(a: KvEventsPlan, b: KvEventsPlan): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
