import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema, object, objectName } from './common.ts'

/**
 * InferenceObjective (llm-d.ai/v1alpha2, formerly inference.networking.x-k8s.io): a priority that requests to a pool name by a header
 * (epp.md §6.2). Negative: they may be dropped when the pool is saturated.
 */
export const inferenceObjectiveSchema = kindSchema({
  spec: object({
    priority: z.int().min(-2_147_483_647).max(2_147_483_647).default(0),
    poolRef: object({
      group: z.string().default('inference.networking.k8s.io'),
      kind: z.literal('InferencePool').default('InferencePool'),
      name: objectName,
    }),
  }),
})

export type InferenceObjective = KindObject<
  'InferenceObjective',
  { readonly spec: z.output<typeof inferenceObjectiveSchema>['spec'] }
>
