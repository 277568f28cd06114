/** ./messages.ts as they travel. */
import type { ToWorker, WorkerStart } from './messages.ts'
import type { PlanWire } from './plan-wire.ts'

export interface WireStart extends Omit<WorkerStart, 'plans'> {
  readonly plans: readonly PlanWire[]
}

type Run = Extract<ToWorker, { readonly type: 'run' }>

export type ToWorkerWire = Exclude<ToWorker, Run> | (Omit<Run, 'share'> & { readonly share: PlanWire })
