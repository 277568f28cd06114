import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema, namespaceName, object, objectName } from './common.ts'

/** ReferenceGrant (gateway.networking.k8s.io/v1beta1, v1): lets objects of other namespaces refer to this one's. */
export const referenceGrantSchema = kindSchema({
  spec: object({
    from: z
      .array(object({ group: z.string(), kind: z.string().min(1), namespace: namespaceName }))
      .min(1)
      .max(16),
    to: z
      .array(object({ group: z.string(), kind: z.string().min(1), name: objectName.optional() }))
      .min(1)
      .max(16),
  }),
})

export type ReferenceGrant = KindObject<
  'ReferenceGrant',
  { readonly spec: z.output<typeof referenceGrantSchema>['spec'] }
>
