import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { scorerType } from './plugin-type.ts'

const parameters = object({
  /** Up to so many requests of ours an endpoint counts as idle. */
  idleThreshold: z.int().min(0).default(0),
  /** What an endpoint that is not idle can have at most. */
  maxBusyScore: z.number().min(0).max(1).default(1),
  inFlightLoadProducerName: z.string().optional(),
})

/** Idle: 1; else `(max − n) / max · maxBusyScore` of our own requests in flight (epp.md §3.3). */
export const activeRequestScorer = scorerType(
  'active-request-scorer',
  parameters,
  ({ idleThreshold, maxBusyScore }) => ({
    type: 'active-request-scorer',
    score({ count, inFlight }, _table, out) {
      let max = 0
      for (let i = 0; i < count; i++) if (inFlight[i]! > max) max = inFlight[i]!
      for (let i = 0; i < count; i++)
        out[i] = inFlight[i]! <= idleThreshold ? 1 : ((max - inFlight[i]!) / max) * maxBusyScore
    },
  }),
)
