/**
 * Where the requests of a pool wait for each other on a thread: from the first one on for `windowMs`, then the places of all of them are
 * found and they go on. One timer a window; what waits are the requests' own records.
 *
 * Budget: places of 1,000 prompts of 32 KB in 5 ms; all different and related, in 15 ms.
 */
import type { PickRequest } from '../pick.ts'
import { type BurstPrompt, type BurstReplicas, BurstPlacement } from './burst-placement.ts'
import type { BurstPlan } from './burst-plan.ts'
import { PromptBlocks } from './prompt-blocks.ts'

/** A request that waits. */
export interface HeldRequest {
  /** What will be picked for, as of now; has a prompt, which stays as it is until it is released. */
  ask(): PickRequest
  /** It goes on, once. Must not throw. */
  release(): void
}

export interface BurstPool {
  readonly table: { readonly capacity: number; readonly liveCount: number; readonly generation: Int32Array }
  /** Valid until the next call. @throws whatever plug-ins throw */
  candidatesFor(request: PickRequest, profile: number): BurstReplicas
}

/** Requests that go on in one turn of the event loop. */
const RELEASED_AT_ONCE = 64

export class BurstWindow {
  readonly plan: BurstPlan
  readonly #pool: BurstPool
  readonly #placement: BurstPlacement
  readonly #nowMs: () => number
  readonly #open = new Set<HeldRequest>()
  #sealsAt = 0
  #timer: NodeJS.Timeout | undefined
  /** They have their places, and go on in this order. */
  readonly #sealed = new Set<HeldRequest>()
  #releasing = false

  constructor(plan: BurstPlan, pool: BurstPool, nowMs: () => number = () => performance.now()) {
    this.plan = plan
    this.#pool = pool
    this.#placement = new BurstPlacement(plan)
    this.#nowMs = nowMs
  }

  /** Requests that wait. */
  get size(): number {
    return this.#open.size + this.#sealed.size
  }

  /** Whether the request waits: not where there is nothing to wait for, where too many do, or where it has less than `patienceMs`. */
  join(held: HeldRequest, patienceMs: number): boolean {
    const { windowMs, maxHeld } = this.plan
    if (this.#pool.table.liveCount < 2 || this.size >= maxHeld) return false
    const now = this.#nowMs()
    if (patienceMs < (this.#open.size === 0 ? windowMs : this.#sealsAt - now)) return false
    if (this.#open.size === 0) {
      this.#sealsAt = now + windowMs
      this.#timer = setTimeout(() => this.#seal(), windowMs).unref()
    }
    this.#open.add(held)
    return true
  }

  /** It waits no longer: its stream is over. */
  leave(held: HeldRequest): void {
    this.#sealed.delete(held)
    // A window ends with its last request; the next one has its own time.
    if (this.#open.delete(held) && this.#open.size === 0) clearTimeout(this.#timer)
  }

  #seal(): void {
    try {
      this.#place([...this.#open])
    } catch {
      // A plug-in's fault: each request meets it again when it is picked for, and is answered accordingly.
    }
    for (const held of this.#open) this.#sealed.add(held)
    this.#open.clear()
    if (!this.#releasing) this.#release()
  }

  #place(held: readonly HeldRequest[]): void {
    const { profile } = this.plan
    const { capacity, generation } = this.#pool.table
    const requests = held.map(each => each.ask())
    const prompts = requests.map(
      ({ prefix, model, salt = '' }): BurstPrompt => ({
        blocks: new PromptBlocks(prefix!, this.plan, `${salt}\n${model}`),
        slot: -1,
      }),
    )
    this.#placement.place(prompts, capacity, (_prompt, index) => this.#pool.candidatesFor(requests[index]!, profile))
    for (const [index, { slot }] of prompts.entries()) {
      if (slot < 0) continue
      requests[index]!.burstSlot = slot
      requests[index]!.burstGeneration = generation[slot]!
    }
  }

  #release(): void {
    let released = 0
    for (const held of this.#sealed) {
      if (released++ === RELEASED_AT_ONCE) break
      this.#sealed.delete(held)
      held.release()
    }
    this.#releasing = this.#sealed.size > 0
    if (this.#releasing) setImmediate(() => this.#release())
  }
}
