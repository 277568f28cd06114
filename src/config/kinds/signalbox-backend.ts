import { isIP } from 'node:net'
import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema, labels, object, port, preciseHostname } from './common.ts'

/**
 * SignalboxBackend (signalbox.dev/v1alpha1): endpoints that stand in the file. InferencePools of the same namespace select them
 * by label (`metadata.labels`, overridden by the endpoint's own), and an HTTPRoute may refer to the whole backend.
 */
const address = z.string().superRefine((text, context) => {
  if (isIP(text) !== 0) return
  if (preciseHostname.safeParse(text.toLowerCase()).success) return
  context.addIssue({ code: 'custom', message: `"${text}" is neither an IP address nor a host name` })
})

export const signalboxBackendSchema = kindSchema({
  spec: object({
    appProtocol: z.enum(['http', 'kubernetes.io/h2c']).default('http'),
    endpoints: z.array(object({ address, port, labels: labels.default({}) })).min(1),
  }),
})

export type SignalboxBackend = KindObject<
  'SignalboxBackend',
  { readonly spec: z.output<typeof signalboxBackendSchema>['spec'] }
>
