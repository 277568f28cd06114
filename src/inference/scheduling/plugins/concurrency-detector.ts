import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { filterType } from './plugin-type.ts'

const NO_TOKENS = 'tokens in flight are not counted yet'

/** Also of the detector that judges the whole pool (../../flow-control/saturation.ts). */
export const concurrencyParameters = object(
  {
    concurrencyMode: z.literal('requests', `only "requests" is supported yet: ${NO_TOKENS}`).default('requests'),
    maxConcurrency: z.int().min(1).default(100),
    /** How far above it an endpoint may still be, as a share of it. */
    headroom: z.number().min(0).default(0),
    inFlightLoadProducerName: z.string().optional(),
  },
  { maxTokenConcurrency: NO_TOKENS },
)

/** As a filter: keeps endpoints with fewer requests of ours in flight; it may leave none (epp.md §3.9). */
export const concurrencyDetector = filterType(
  'concurrency-detector',
  concurrencyParameters,
  ({ maxConcurrency, headroom }) => {
    const max = maxConcurrency * (1 + headroom)
    return {
      type: 'concurrency-detector',
      filter({ count, inFlight }, _table, kept) {
        for (let i = 0; i < count; i++) kept[i] = inFlight[i]! < max ? 1 : 0
      },
    }
  },
)
