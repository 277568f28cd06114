/**
 * Where the requests of a pool wait for each other on a thread: from the first one on for `windowMs`, then the places of all of them are
 * found and they go on. One timer a window; what waits are the requests' own records.
 *
 * Budget: to begin with 1,000 prompts of 32 KB 5 ms, and 15 ms when all are different and related; a turn 5 ms.
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

/** Requests that go on in one turn of the event loop, and groups that get their places. */
const AT_ONCE = 64

export class BurstWindow {
  readonly plan: BurstPlan
  readonly #pool: BurstPool
  readonly #placement: BurstPlacement
  readonly #nowMs: () => number
  readonly #open = new Set<HeldRequest>()
  #sealsAt = 0
  #timer: NodeJS.Timeout | undefined
  /** Windows that are over, in order; the first one's requests get their places. */
  readonly #ended: Set<HeldRequest>[] = []
  readonly #promptOf = new Map<HeldRequest, BurstPrompt>()
  readonly #heldOf = new Map<BurstPrompt, HeldRequest>()
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
    let size = this.#open.size + this.#sealed.size
    for (const window of this.#ended) size += window.size
    return size
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
    for (const window of this.#ended) window.delete(held)
    const prompt = this.#promptOf.get(held)
    if (prompt !== undefined) {
      prompt.left = true
      this.#promptOf.delete(held)
    }
    // A window ends with its last request; the next one has its own time.
    if (this.#open.delete(held) && this.#open.size === 0) clearTimeout(this.#timer)
  }

  #seal(): void {
    this.#ended.push(new Set(this.#open))
    this.#open.clear()
    if (this.#ended.length === 1) this.#place(true)
  }

  #place(begins: boolean): void {
    let more = false
    try {
      if (begins) this.#begin()
      const { capacity } = this.#pool.table
      more = this.#placement.placeSome(AT_ONCE, capacity, prompt => this.#replicasOf(prompt))
    } catch {
      // A plug-in's fault: each request meets it again when it is picked for, and is answered accordingly.
    }
    this.#tellSlots()
    if (more) {
      setImmediate(() => this.#place(false))
      return
    }
    this.#promptOf.clear()
    this.#heldOf.clear()
    for (const held of this.#ended.shift()!) this.#sealed.add(held)
    if (!this.#releasing) this.#release()
    if (this.#ended.length > 0) setImmediate(() => this.#place(true))
  }

  #begin(): void {
    for (const held of this.#ended[0]!) {
      const { prefix, model, salt = '' } = held.ask()
      const prompt = { blocks: new PromptBlocks(prefix!, this.plan, `${salt}\n${model}`), slot: -1, left: false }
      this.#promptOf.set(held, prompt)
      this.#heldOf.set(prompt, held)
    }
    this.#placement.begin([...this.#heldOf.keys()])
  }

  #replicasOf(prompt: BurstPrompt): BurstReplicas {
    return this.#pool.candidatesFor(this.#heldOf.get(prompt)!.ask(), this.plan.profile)
  }

  /** Those that have a place now know it. */
  #tellSlots(): void {
    const { generation } = this.#pool.table
    for (const [held, { slot }] of this.#promptOf) {
      if (slot < 0) continue
      const request = held.ask()
      request.burstSlot = slot
      request.burstGeneration = generation[slot]!
      this.#promptOf.delete(held)
    }
  }

  #release(): void {
    let released = 0
    for (const held of this.#sealed) {
      if (released++ === AT_ONCE) break
      this.#sealed.delete(held)
      held.release()
    }
    this.#releasing = this.#sealed.size > 0
    if (this.#releasing) setImmediate(() => this.#release())
  }
}
