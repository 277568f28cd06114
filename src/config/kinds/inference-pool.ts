import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema, labels, object, objectName, port } from './common.ts'

/**
 * InferencePool (inference.networking.k8s.io/v1). The alpha shape of inference.networking.x-k8s.io/v1alpha2 (`selector` as a
 * plain map, `targetPortNumber`, `extensionRef`) is read by `inferencePoolAlphaSchema` into the same object.
 */
const ALPHA = 'it belongs to inference.networking.x-k8s.io/v1alpha2'
const failureMode = z.enum(['FailOpen', 'FailClose'])
const selectorLabels = labels.refine(value => Object.keys(value).length > 0, 'needs at least one label')

export const inferencePoolSchema = kindSchema({
  spec: object(
    {
      selector: object({ matchLabels: selectorLabels }),
      targetPorts: z
        .array(object({ number: port }))
        .min(1)
        .max(8)
        .refine(ports => new Set(ports.map(item => item.number)).size === ports.length, 'ports must be unique'),
      appProtocol: z.enum(['http', 'kubernetes.io/h2c']).default('http'),
      endpointPickerRef: object({
        group: z.string().default(''),
        kind: z.string().default('Service'),
        name: objectName,
        port: object({ number: port }).optional(),
        failureMode: failureMode.optional(),
      }).optional(),
    },
    {
      extensionRef: `${ALPHA}; v1 calls it endpointPickerRef`,
      targetPortNumber: `${ALPHA}; v1 has targetPorts: [{number: …}]`,
    },
  ),
})

export const inferencePoolAlphaSchema = kindSchema({
  spec: object({
    selector: selectorLabels,
    targetPortNumber: port,
    extensionRef: object({
      group: z.string().default(''),
      kind: z.string().default('Service'),
      name: objectName,
      portNumber: port.optional(),
      failureMode: failureMode.optional(),
    }).optional(),
  }),
}).transform(({ spec: { selector, targetPortNumber, extensionRef }, ...rest }) => {
  const spec: InferencePoolSpec = {
    selector: { matchLabels: selector },
    targetPorts: [{ number: targetPortNumber }],
    appProtocol: 'http',
  }
  if (extensionRef !== undefined) {
    const { group, kind, name, portNumber, failureMode } = extensionRef
    spec.endpointPickerRef = { group, kind, name, port: { number: portNumber ?? 9002 }, failureMode }
  }
  return { ...rest, spec }
})

type InferencePoolSpec = z.output<typeof inferencePoolSchema>['spec']
export type InferencePool = KindObject<'InferencePool', { readonly spec: InferencePoolSpec }>
