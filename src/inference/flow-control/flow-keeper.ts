import type { EndpointTable } from '../endpoint-table.ts'
import { type BandFigures, createFlowMemory, FlowMemory, type FlowShare, MAX_BANDS } from './flow-memory.ts'
import type { BandPlan, FlowControlPlan } from './flow-plan.ts'
import { createRevocationMemory, type RevocationFigures, RevocationMemory } from './revocation-memory.ts'
import { createFairness, createOrdering, createUsageLimit } from './flow-plugins.ts'
import { createDetector, Saturation, visibleAfterMs } from './saturation.ts'

/** For metrics. */
export interface FlowFigures {
  readonly saturation: { readonly prefill: number; readonly decode: number; readonly effective: number }
  readonly stale: number
  readonly plan: FlowControlPlan
  readonly bands: readonly (BandFigures & { readonly plan: BandPlan; readonly revocationsIssued: number })[]
  /** Absent: the plan has no eviction. */
  readonly revocations?: RevocationFigures
}

/** Whatever `FlowKeeper` could trip over. @throws ZodError, RangeError: too many bands */
export function checkFlowPlan(plan: FlowControlPlan): void {
  if (plan.bands.length > MAX_BANDS) throw new RangeError(`more than ${MAX_BANDS} priorities in one pool`)
  void createDetector(plan.saturation)
  void createUsageLimit(plan.usageLimit)
  for (const { fairness, ordering } of plan.bands) {
    void createFairness(fairness)
    void createOrdering(ordering)
  }
}

/** A pool's flow control on the main thread: gives threads their memory, and tells them what happens here. */
export class FlowKeeper {
  readonly #memory: SharedArrayBuffer
  readonly #threads: number
  readonly #flow: FlowMemory
  readonly #saturation: Saturation
  readonly #places = new Map<number, number>()
  /** Made when a plan first evicts. */
  #revocationMemory: SharedArrayBuffer | undefined
  #revocations: RevocationMemory | undefined
  #graceMs = 0
  #plan!: FlowControlPlan

  /** `threads` count the main thread, which is 0; `scrapeIntervalMs`: of the endpoints. @throws ZodError, RangeError */
  constructor(plan: FlowControlPlan, threads: number, table: EndpointTable, scrapeIntervalMs: number) {
    this.#threads = threads
    this.#memory = createFlowMemory(threads)
    this.#flow = new FlowMemory({ memory: this.#memory, threads }, 0)
    this.#saturation = new Saturation(plan.saturation, table)
    this.update(plan, scrapeIntervalMs)
  }

  /** Takes over a plan, or the table's other endpoints. Bands that stay keep their places. @throws ZodError, RangeError: too many bands */
  update(plan: FlowControlPlan, scrapeIntervalMs: number): void {
    checkFlowPlan(plan)
    this.#saturation.adopt(plan.saturation)
    const wanted = new Set(plan.bands.map(({ priority }) => priority))
    for (const priority of wanted) if (!this.#places.has(priority)) this.#places.set(priority, this.#freePlace(wanted))
    this.#plan = plan
    this.#graceMs = visibleAfterMs(plan.saturation, scrapeIntervalMs)
    if (plan.evicts !== true || this.#revocations !== undefined) return
    this.#revocationMemory = createRevocationMemory(this.#threads)
    this.#revocations = new RevocationMemory(this.#revocationMemory, this.#threads, 0)
  }

  share(): FlowShare {
    return {
      memory: this.#memory,
      threads: this.#threads,
      places: [...this.#places],
      ...(this.#plan.evicts === true
        ? { revocations: { memory: this.#revocationMemory!, graceMs: this.#graceMs } }
        : {}),
    }
  }

  /** Something has changed that may let requests go on. */
  signal(): void {
    this.#flow.signal()
  }

  /** What waited at a thread has gone with it. */
  threadDied(thread: number): void {
    this.#revocations?.forget(thread)
    this.#flow.forget(thread)
  }

  /** A thread does not answer: the others do not wait for what waits there. */
  threadHangs(thread: number): void {
    this.#revocations?.ignore(thread)
    this.#flow.ignore(thread)
  }

  figures(nowMs: number): FlowFigures {
    const saturation = this.#saturation
    saturation.measure(nowMs)
    const { prefill, decode, effective, stale } = saturation
    const revocations = this.#plan.evicts === true ? this.#revocations!.figures(nowMs, this.#graceMs) : undefined
    return {
      saturation: { prefill, decode, effective },
      stale,
      plan: this.#plan,
      bands: this.#plan.bands.map(plan => {
        const place = this.#places.get(plan.priority)!
        return { ...this.#flow.figures(place), plan, revocationsIssued: revocations?.issued[place] ?? 0 }
      }),
      ...(revocations === undefined ? {} : { revocations }),
    }
  }

  /** One that no band has; else that of a priority which has gone: its counts go over to the new one. */
  #freePlace(wanted: ReadonlySet<number>): number {
    const taken = new Set(this.#places.values())
    for (let place = 0; place < MAX_BANDS; place++) if (!taken.has(place)) return place
    for (const [priority, place] of this.#places) {
      if (wanted.has(priority)) continue
      this.#places.delete(priority)
      return place
    }
    throw new RangeError(`more than ${MAX_BANDS} priorities in one pool`)
  }
}
