import { EntryHeap } from './entry-heap.ts'
import type { FairnessPolicy, Flow } from './fairness-policy.ts'
import { createFairness, createOrdering } from './flow-plugins.ts'
import type { FlowEntry } from './flow-entry.ts'
import type { BandPlan } from './flow-plan.ts'
import type { OrderingPolicy } from './ordering-policies.ts'

/** The requests of one priority that wait at this thread. */
export class Band {
  readonly priority: number
  /** Place in the shared memory. */
  readonly place: number
  plan!: BandPlan
  size = 0
  readonly #flows = new Map<string, Flow>()
  #fairness!: FairnessPolicy
  #ordering!: OrderingPolicy
  #policies = ''

  /** @throws ZodError */
  constructor(plan: BandPlan, place: number) {
    this.priority = plan.priority
    this.place = place
    this.adopt(plan, 0)
  }

  /** Other caps or policies; what waits goes over to them. `ttlMs`: as of `push`. @throws ZodError */
  adopt(plan: BandPlan, ttlMs: number): void {
    this.plan = plan
    const policies = JSON.stringify([plan.fairness, plan.ordering])
    if (policies === this.#policies) return
    const entries = this.entries().sort((a, b) => a.sequence - b.sequence)
    this.#policies = policies
    this.#fairness = createFairness(plan.fairness)
    this.#ordering = createOrdering(plan.ordering)
    this.#flows.clear()
    this.size = 0
    for (const entry of entries) this.push(entry, ttlMs)
  }

  /** All that waits here, as it is now, in no order. */
  entries(): FlowEntry[] {
    return [...this.#flows.values()].flatMap(({ entries }) => [...entries])
  }

  push(entry: FlowEntry, ttlMs: number): void {
    entry.key = this.#ordering(entry, ttlMs)
    const id = this.#fairness.flowOf(entry.fairnessId)
    let flow = this.#flows.get(id)
    if (flow === undefined) {
      flow = { id, entries: new EntryHeap() }
      this.#flows.set(id, flow)
    }
    flow.entries.push(entry)
    if (flow.entries.size === 1) this.#fairness.began(flow)
    this.size++
  }

  /** Takes out the one whose turn it is. Only while `size` is not 0. */
  next(nowMs: number): FlowEntry {
    const flow = this.#fairness.next(nowMs)
    const entry = flow.entries.head!
    this.#take(flow, entry)
    this.#fairness.served(flow, entry, nowMs)
    return entry
  }

  /** `FlowControl.used` */
  used(fairnessId: string, tokens: number, nowMs: number): void {
    this.#fairness.used?.(this.#fairness.flowOf(fairnessId), tokens, nowMs)
  }

  /** Takes out one that waits here. */
  remove(entry: FlowEntry): void {
    this.#take(this.#flows.get(this.#fairness.flowOf(entry.fairnessId))!, entry)
  }

  #take(flow: Flow, entry: FlowEntry): void {
    flow.entries.remove(entry)
    this.size--
    if (flow.entries.size > 0) return
    this.#flows.delete(flow.id)
    this.#fairness.ended(flow)
  }
}
