import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema, object, objectName } from './common.ts'

/** InferenceModelRewrite (llm-d.ai/v1alpha2): changes the `model` of requests to a pool, weighted. */
export const inferenceModelRewriteSchema = kindSchema({
  spec: object({
    poolRef: object({
      group: z.string().default('inference.networking.k8s.io'),
      kind: z.literal('InferencePool').default('InferencePool'),
      name: objectName,
    }),
    rules: z
      .array(
        object({
          matches: z
            .array(object({ model: object({ type: z.literal('Exact').default('Exact'), value: z.string().min(1) }) }))
            .default([]),
          targets: z
            .array(object({ modelRewrite: z.string().min(1), weight: z.int().min(1).max(1_000_000).optional() }))
            .min(1),
        }),
      )
      .min(1),
  }),
})

export type InferenceModelRewrite = KindObject<
  'InferenceModelRewrite',
  { readonly spec: z.output<typeof inferenceModelRewriteSchema>['spec'] }
>
