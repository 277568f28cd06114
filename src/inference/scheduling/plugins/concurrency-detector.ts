import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { filterType } from './plugin-type.ts'

/** Also of the detector that judges the whole pool (../../flow-control/saturation.ts). */
export const concurrencyParameters = object({
  /** What is counted: requests of ours in flight, their tokens, or both, of which the fuller one counts. */
  concurrencyMode: z.enum(['requests', 'tokens', 'hybrid']).default('requests'),
  maxConcurrency: z.int().min(1).default(100),
  maxTokenConcurrency: z.int().min(1).max(2_147_483_647).default(1_000_000),
  /** How far above it an endpoint may still be, as a share of it. */
  headroom: z.number().min(0).default(0),
  inFlightLoadProducerName: z.string().optional(),
})

/** As a filter: keeps endpoints with fewer requests or tokens of ours in flight; it may leave none (epp.md §3.9). */
export const concurrencyDetector = filterType(
  'concurrency-detector',
  concurrencyParameters,
  ({ concurrencyMode, maxConcurrency, maxTokenConcurrency, headroom }) => {
    const maxRequests = concurrencyMode === 'tokens' ? Number.POSITIVE_INFINITY : maxConcurrency * (1 + headroom)
    const maxTokens = concurrencyMode === 'requests' ? Number.POSITIVE_INFINITY : maxTokenConcurrency * (1 + headroom)
    return {
      type: 'concurrency-detector',
      filter({ count, inFlight, tokens }, _table, kept) {
        for (let i = 0; i < count; i++) kept[i] = inFlight[i]! < maxRequests && tokens[i]! < maxTokens ? 1 : 0
      },
    }
  },
  ({ concurrencyMode }) => (concurrencyMode === 'requests' ? [] : ['in-flight-tokens']),
)
