/** What the main thread gives other threads of a pool. Plain data: shared memory goes by reference. */
import type { EndpointTableState } from './endpoint-table-state.ts'
import type { SlotShare } from './endpoint-table.ts'
import type { FlowShare } from './flow-control/flow-memory.ts'
import type { KvShare } from './kv-events/kv-matcher.ts'
import type { ServedModel } from './model-list.ts'
import type { PoolPlan } from './pool-plan.ts'
import type { PrefixIndexState } from './prefix-index-state.ts'

export interface PoolShare {
  readonly plan: PoolPlan
  readonly slots: readonly SlotShare[]
  /** `known`: the memory that the thread has already. */
  readonly table: EndpointTableState | 'known'
  /** Absent: no scorer looks at prefixes. */
  readonly index: PrefixIndexState | 'known' | undefined
  /** Those of `plan.scheduling.prefixCaches`, in their order. Absent: there are none. */
  readonly furtherIndexes?: readonly (PrefixIndexState | 'known')[]
  readonly models: PoolModels
  /** Absent: the plan has no flow control. */
  readonly flow?: FlowShare
  /** Rings of ./prefix-log.ts; absent: nobody is told what threads note in the index. */
  readonly prefixLog?: SharedArrayBuffer
  /** Bytes of bodies that each thread holds (`createHeldMemory`); absent: the plan has no limit of them. */
  readonly held?: SharedArrayBuffer
  /** What the plug-ins of all threads remember together (./scheduling/plugin-memory.ts); absent: none of them does. */
  readonly memory?: readonly SharedArrayBuffer[]
}

/** Which slots list which models. */
export interface PoolModels {
  readonly lists: readonly (readonly [slot: number, models: readonly ServedModel[]])[]
  /** Every reachable endpoint has listed its models, and there is one: only then can a model be called unknown. */
  readonly allListed: boolean
  /** What engines tell of their caches; absent: nobody follows that. */
  readonly kv?: KvShare
}
