import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { Candidates } from '../candidates.ts'
import { filterType } from './plugin-type.ts'

const METRICS = {
  'active-requests': 'inFlight',
  'running-requests': 'running',
  'waiting-queue': 'waiting',
  'kv-cache-utilization': 'kvUsage',
} as const satisfies Readonly<Record<string, keyof Candidates>>

const parameters = object({
  conditions: z
    .array(
      object({
        metric: z.enum(['active-requests', 'running-requests', 'waiting-queue', 'kv-cache-utilization']),
        maxValue: z.number().min(0),
      }),
    )
    .min(1),
  /** Keep all where none would stay. */
  fallbackOnEmpty: z.boolean().default(false),
})

/** Keeps endpoints all of whose metrics are at most their `maxValue` (epp.md §3.2). */
export const utilizationFilter = filterType('utilization-filter', parameters, ({ conditions, fallbackOnEmpty }) => ({
  type: 'utilization-filter',
  filter(candidates, _table, kept) {
    const { count } = candidates
    kept.fill(1, 0, count)
    for (let c = 0; c < conditions.length; c++) {
      const { metric, maxValue } = conditions[c]!
      const values = candidates[METRICS[metric]]
      for (let i = 0; i < count; i++) if (values[i]! > maxValue) kept[i] = 0
    }
    if (!fallbackOnEmpty) return
    for (let i = 0; i < count; i++) if (kept[i] !== 0) return
    kept.fill(1, 0, count)
  },
}))
