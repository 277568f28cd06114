import type { Engine } from './engine.ts'
import type { FaultSwitches } from './faults.ts'
import type { ModelRegistry } from './model-registry.ts'
import type { ResolvedOptions } from './options.ts'
import type { Random } from './random.ts'
import type { RequestLog } from './request-log.ts'
import type { VllmMetrics } from './vllm-metrics.ts'

/** What the handlers of one simulator share. */
export interface SimContext {
  readonly options: ResolvedOptions
  readonly engine: Engine
  readonly metrics: VllmMetrics
  readonly models: ModelRegistry
  readonly faults: FaultSwitches
  readonly log: RequestLog
  /** Decides which requests `errorShare` hits. */
  readonly random: Random
  /** Unix time in whole seconds. */
  readonly unixSeconds: () => number
}
