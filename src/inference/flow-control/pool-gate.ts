import { type HeaderName, headerName } from '../../extproc/header-view.ts'
import type { EndpointTable } from '../endpoint-table.ts'
import { InFlightLimit } from '../in-flight-limit.ts'
import type { PoolPlan } from '../pool-plan.ts'
import { Admission } from './admission.ts'
import { type FlowClock, FlowControl } from './flow-control.ts'
import type { FlowShare } from './flow-memory.ts'
import { FlowOutcome } from './flow-outcome.ts'

/** What stands before a pool on a thread that decides: flow control, or admission, or nothing. */
export class PoolGate {
  /** Requests need no leave: who lets them in has nothing else to ask. */
  isOpen = true
  flow: FlowControl | undefined
  admission: Admission | undefined
  /** So much may be under way; undefined: anything. With flow control, what is beyond waits. */
  limit: InFlightLimit | undefined
  /** Priorities by name; a map, because clients name them. */
  objectives: ReadonlyMap<string, number> = new Map()
  /** `SchedulingPlan.agentHeaders`: also of requests that need no leave. */
  agentHeaders: readonly HeaderName[] = []
  readonly #table: EndpointTable
  readonly #thread: number
  readonly #clock: FlowClock

  constructor(table: EndpointTable, thread: number, clock: FlowClock) {
    this.#table = table
    this.#thread = thread
    this.#clock = clock
  }

  /** The table has the plan's endpoints already. @throws ZodError, RangeError for a plan with flow control and no share */
  adopt({ scheduling, objectives = {}, limits }: PoolPlan, share: FlowShare | undefined): void {
    const { flowControl, admission } = scheduling
    this.objectives = new Map(Object.entries(objectives))
    this.agentHeaders = (scheduling.agentHeaders ?? []).map(headerName)
    if (flowControl === undefined) {
      this.flow?.release()
      this.flow = undefined
    } else if (share === undefined) {
      throw new RangeError('flow control has no memory')
    } else if (this.flow === undefined) {
      this.flow = new FlowControl(flowControl, share, this.#table, this.#thread, this.#clock)
    } else {
      this.flow.adopt(flowControl, share)
    }
    if (flowControl !== undefined || admission === undefined) this.admission = undefined
    else if (this.admission === undefined) this.admission = new Admission(admission, this.#table, Math.random)
    else this.admission.adopt(admission, this.#table)
    this.limit = limits?.inFlight === undefined ? undefined : new InFlightLimit(limits.inFlight, this.#table)
    if (this.flow !== undefined) this.flow.limit = this.limit
    this.isOpen = this.flow === undefined && this.admission === undefined && this.limit === undefined
  }

  /** The pool has gone. */
  close(): void {
    this.flow?.close(FlowOutcome.EVICTED_NO_ENDPOINTS)
    this.flow = undefined
    this.admission = undefined
    this.limit = undefined
    this.isOpen = true
  }

  /** A request to the pool is over. */
  freed(): void {
    if (this.flow !== undefined) this.flow.signal()
  }
}
