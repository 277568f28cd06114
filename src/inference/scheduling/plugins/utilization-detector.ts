import { z } from 'zod'
import { parseDuration } from '../../../config/duration.ts'
import { object } from '../../../config/kinds/common.ts'
import { filterType } from './plugin-type.ts'

/** Also of the detector that judges the whole pool (../../flow-control/saturation.ts). */
export const utilizationParameters = object({
  queueDepthThreshold: z.int().min(1).default(5),
  kvCacheUtilThreshold: z.number().positive().max(1).default(0.8),
  metricsStalenessThreshold: z
    .string()
    .refine(text => (parseDuration(text) ?? 0) > 0, 'must be a duration longer than 0, like 200ms')
    .default('200ms'),
  /** How far above the thresholds an endpoint may still be, as a share of them. */
  headroom: z.number().min(0).default(0),
  /** Ours: how full one endpoint may count in the mean over the pool, 1 = full. Absent: without a limit, as in llm-d. */
  maxEndpointSaturation: z.number().min(1).optional(),
})

/** As a filter: keeps endpoints below both thresholds whose metrics are fresh; all, where none would stay (epp.md §3.9). */
export const utilizationDetector = filterType('utilization-detector', utilizationParameters, given => {
  const maxQueue = given.queueDepthThreshold * (1 + given.headroom)
  const maxUsage = given.kvCacheUtilThreshold * (1 + given.headroom)
  const staleMs = parseDuration(given.metricsStalenessThreshold) ?? 0
  return {
    type: 'utilization-detector',
    filter({ count, slots, waiting, kvUsage, nowMs }, table, kept) {
      let any = 0
      for (let i = 0; i < count; i++) {
        const fresh = table.age(slots[i]!, nowMs) <= staleMs
        kept[i] = fresh && waiting[i]! < maxQueue && kvUsage[i]! < maxUsage ? 1 : 0
        any |= kept[i]!
      }
      if (any === 0) kept.fill(1, 0, count)
    },
  }
})
