import { isIP } from 'node:net'
import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { hostname, kindSchema, labels, namespaceName, object, objectName, port } from './common.ts'

/** Gateway (gateway.networking.k8s.io/v1): https://gateway-api.sigs.k8s.io/reference/spec/#gateway */
const labelSelector = object({
  matchLabels: labels.optional(),
  matchExpressions: z
    .array(
      object({
        key: z.string(),
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: z.array(z.string()).default([]),
      }),
    )
    .optional(),
})

const allowedRoutes = object({
  namespaces: object({ from: z.enum(['All', 'Same', 'Selector']).default('Same'), selector: labelSelector.optional() })
    .refine(value => value.from !== 'Selector' || value.selector !== undefined, 'from: Selector needs a selector')
    .optional(),
  kinds: z
    .array(object({ group: z.string().default('gateway.networking.k8s.io'), kind: z.string() }))
    .max(8)
    .optional(),
})

const listener = object({
  name: objectName,
  hostname: hostname.optional(),
  port,
  protocol: z.string().min(1),
  tls: object({
    mode: z.enum(['Terminate', 'Passthrough']).default('Terminate'),
    certificateRefs: z
      .array(
        object({
          group: z.string().default(''),
          kind: z.string().default('Secret'),
          name: objectName,
          namespace: namespaceName.optional(),
        }),
      )
      .default([]),
  }).optional(),
  allowedRoutes: allowedRoutes.optional(),
})

export const gatewaySchema = kindSchema({
  spec: object({
    gatewayClassName: objectName.optional(),
    listeners: z
      .array(listener)
      .min(1)
      .max(64)
      .superRefine((listeners, context) => {
        const names = new Set<string>()
        for (const [index, { name }] of listeners.entries()) {
          if (names.has(name))
            context.addIssue({ code: 'custom', path: [index, 'name'], message: `a second listener named "${name}"` })
          names.add(name)
        }
      }),
    addresses: z
      .array(
        object({
          type: z
            .literal('IPAddress', { error: 'only addresses of type IPAddress are supported' })
            .default('IPAddress'),
          value: z.string().refine(text => isIP(text) !== 0, 'must be an IP address to listen on'),
        }),
      )
      .max(1, 'only one address to listen on is supported')
      .optional(),
  }),
})

type GatewaySpec = z.output<typeof gatewaySchema>['spec']
export type GatewayListener = GatewaySpec['listeners'][number]
export type Gateway = KindObject<'Gateway', { readonly spec: GatewaySpec }>
