import { z } from 'zod'
import { parseQuantity } from '../quantity.ts'
import { duration, object } from './common.ts'

const name = z.string().min(1)

/** A Kubernetes quantity of whole things. */
const quantity = (examples: string) =>
  z.union([z.number(), z.string()], `must be a quantity like ${examples}`).transform((given, context) => {
    const value = parseQuantity(String(given))
    if (value !== undefined && value > 0) return value
    context.issues.push({ code: 'custom', input: given, message: `must be a quantity above 0, like ${examples}` })
    return z.NEVER
  })
const bytes = quantity('512Mi or 1G')
const count = quantity('500 or 1k')

const band = {
  maxBytes: bytes.default(1e9),
  maxRequests: count.default(5000),
  fairnessPolicyRef: name.default('global-strict-fairness-policy'),
  orderingPolicyRef: name.default('fcfs-ordering-policy'),
}

export const saturationDetectorSchema = object({ pluginRef: name })

/** `flowControl` of an EndpointPickerConfig (epp.md §2.1). What the references lead to is checked in src/compile/picker-flow-control.ts. */
export const flowControlSchema = object({
  maxBytes: bytes.optional(),
  maxRequests: count.optional(),
  /** 0s: requests wait as long as the data plane does. */
  defaultRequestTTL: duration.prefault('60s'),
  /** Default: the same. */
  noEndpointRequestTTL: duration.optional(),
  defaultPriorityBand: object(band).prefault({}),
  defaultNegativePriorityBand: object(band).optional(),
  priorityBands: z
    .array(object({ priority: z.int().min(-2_147_483_647).max(2_147_483_647), ...band }))
    .default([])
    .superRefine((bands, context) => {
      const seen = new Set<number>()
      for (const [index, { priority }] of bands.entries()) {
        if (seen.has(priority))
          context.addIssue({
            code: 'custom',
            message: `a second band of priority ${priority}`,
            path: [index, 'priority'],
          })
        seen.add(priority)
      }
    }),
  usageLimitPolicyPluginRef: name.default('static-usage-limit-policy'),
  saturationDetector: saturationDetectorSchema.optional(),
  /** Requests of negative priority that were sent on are called back while others wait. */
  enableEviction: z.boolean().default(false),
})

export type BandSpec = z.output<typeof flowControlSchema>['defaultPriorityBand']
