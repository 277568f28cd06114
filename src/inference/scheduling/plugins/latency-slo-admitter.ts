import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { AdmitterType } from './plugin-type.ts'

const parameters = object({ latencyPredictionInfoProducerName: z.string().optional() })

/** Share of the KV cache below which an endpoint is as good as new. */
const COLD = 0.02

/**
 * Refuses requests of negative priority that say how fast they must be, where no endpoint is predicted to reach that, none is idle, and none
 * has an empty cache (epp.md §3.10). An aim that the request does not name is reached; without predictions nobody is refused.
 */
export const latencySloAdmitter: AdmitterType = {
  type: 'latency-slo-admitter',
  role: 'admitter',
  parameters,
  needs: () => ['latency'],
  createAdmitter: () => ({
    type: 'latency-slo-admitter',
    admits(candidates) {
      const { count, ttft, tpot, running, kvUsage, tpotTargetFactor, ttftTargetMs, tpotTargetMs } = candidates
      if (ttftTargetMs === 0 && tpotTargetMs === 0) return true
      for (let i = 0; i < count; i++) {
        if (Number.isNaN(ttft[i]!) || running[i] === 0 || kvUsage[i]! < COLD) return true
        const reachesFirst = ttftTargetMs === 0 || ttft[i]! <= ttftTargetMs
        if (reachesFirst && (tpotTargetMs === 0 || tpot[i]! <= tpotTargetMs * tpotTargetFactor)) return true
      }
      return false
    },
  }),
}
