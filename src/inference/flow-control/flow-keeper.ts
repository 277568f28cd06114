import type { EndpointTable } from '../endpoint-table.ts'
import { type BandFigures, createFlowMemory, FlowMemory, type FlowShare, MAX_BANDS } from './flow-memory.ts'
import type { BandPlan, FlowControlPlan } from './flow-plan.ts'
import { Saturation } from './saturation.ts'

/** For metrics. */
export interface FlowFigures {
  readonly saturation: { readonly prefill: number; readonly decode: number; readonly effective: number }
  readonly stale: number
  readonly plan: FlowControlPlan
  readonly bands: readonly (BandFigures & { readonly plan: BandPlan })[]
}

/** A pool's flow control on the main thread: gives threads their memory, and tells them what happens here. */
export class FlowKeeper {
  readonly #memory: SharedArrayBuffer
  readonly #threads: number
  readonly #flow: FlowMemory
  readonly #saturation: Saturation
  readonly #places = new Map<number, number>()
  #plan!: FlowControlPlan

  /** `threads` count the main thread, which is 0. @throws ZodError, RangeError */
  constructor(plan: FlowControlPlan, threads: number, table: EndpointTable) {
    this.#threads = threads
    this.#memory = createFlowMemory(threads)
    this.#flow = new FlowMemory({ memory: this.#memory, threads }, 0)
    this.#saturation = new Saturation(plan.saturation, table)
    this.update(plan)
  }

  /** Takes over a plan, or the table's other endpoints. Bands that stay keep their places. @throws ZodError, RangeError: too many bands */
  update(plan: FlowControlPlan): void {
    if (plan.bands.length > MAX_BANDS) throw new RangeError(`more than ${MAX_BANDS} priorities in one pool`)
    this.#saturation.adopt(plan.saturation)
    const wanted = new Set(plan.bands.map(({ priority }) => priority))
    for (const priority of wanted) if (!this.#places.has(priority)) this.#places.set(priority, this.#freePlace(wanted))
    this.#plan = plan
  }

  share(): FlowShare {
    return { memory: this.#memory, threads: this.#threads, places: [...this.#places] }
  }

  /** Something has changed that may let requests go on. */
  signal(): void {
    this.#flow.signal()
  }

  /** What waited at a thread has gone with it. */
  threadDied(thread: number): void {
    this.#flow.forget(thread)
  }

  /** A thread does not answer: the others do not wait for what waits there. */
  threadHangs(thread: number): void {
    this.#flow.ignore(thread)
  }

  figures(nowMs: number): FlowFigures {
    const saturation = this.#saturation
    saturation.measure(nowMs)
    const { prefill, decode, effective, stale } = saturation
    return {
      saturation: { prefill, decode, effective },
      stale,
      plan: this.#plan,
      bands: this.#plan.bands.map(plan => ({ ...this.#flow.figures(this.#places.get(plan.priority)!), plan })),
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
