/** A worker for `eviction-threads.test.ts`: holds requests that may be called back, and sends others that must wait. */
import { parentPort, workerData } from 'node:worker_threads'
import type { EndpointTableState } from '../endpoint-table-state.ts'
import { EndpointTable, type SlotShare } from '../endpoint-table.ts'
import { Entering, FlowControl } from './flow-control.ts'
import { FlowEntry } from './flow-entry.ts'
import type { FlowShare } from './flow-memory.ts'
import type { FlowControlPlan } from './flow-plan.ts'
import { Lease } from './lease.ts'

export interface EvictionThreadStart {
  readonly plan: FlowControlPlan
  readonly share: FlowShare
  readonly state: EndpointTableState
  readonly slots: readonly SlotShare[]
  readonly thread: number
}

export type ToEvictionThread = { readonly type: 'hold' | 'want'; readonly count: number }
export type FromEvictionThread = 'held' | 'sent' | 'revoked'

const { plan, share, state, slots, thread } = workerData as EvictionThreadStart
const table = new EndpointTable({ releaseBy: 'response', thread }, state, slots)
const clock = { nowMs: Date.now, monotonicMs: () => performance.now() }
const flow = new FlowControl(plan, share, table, thread, clock)
const tell = (news: FromEvictionThread) => parentPort!.postMessage(news)

class Held extends Lease {
  revoke(): void {
    tell('revoked')
    flow.evictor!.end(this)
    table.counters.release(0, 1)
    flow.signal()
  }
}

function send(priority: number): void {
  table.decide(0)
  flow.evictor!.begin(new Held(priority))
}

class Wanted extends FlowEntry {
  dispatched(): void {
    send(this.priority)
    tell('sent')
  }

  refused(): void {
    throw new Error('it may wait as long as it likes')
  }
}

parentPort!.on('message', ({ type, count }: ToEvictionThread) => {
  const never = Number.POSITIVE_INFINITY
  const terms = { fairnessId: 'f', bytes: 1, timeoutMs: never, ttftTargetMs: never }
  for (let i = 0; i < count; i++) {
    if (type === 'hold') {
      send(-1)
      continue
    }
    const wanted = new Wanted({ ...terms, priority: 1 })
    if (flow.enter(wanted) === Entering.NOW) wanted.dispatched()
  }
  if (type === 'hold') tell('held')
})
