import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema, labels, object, port } from './common.ts'

/** Service (v1): the ports that a backendRef names; the addresses come from its EndpointSlices. */
export const serviceSchema = kindSchema({
  spec: z.looseObject({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).default('ClusterIP'),
    selector: labels.optional(),
    ports: z
      .array(
        z.looseObject({
          name: z.string().optional(),
          port,
          targetPort: z.union([port, z.string()]).optional(),
          protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP'),
          appProtocol: z.string().optional(),
        }),
      )
      .default([]),
  }),
})

/** EndpointSlice (discovery.k8s.io/v1), joined to its Service by the label `kubernetes.io/service-name`. */
export const endpointSliceSchema = kindSchema({
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  endpoints: z
    .array(
      z.looseObject({
        addresses: z.array(z.string()).min(1),
        conditions: object({
          ready: z.boolean().nullish(),
          serving: z.boolean().nullish(),
          terminating: z.boolean().nullish(),
        }).optional(),
      }),
    )
    .nullish()
    .transform(value => value ?? []),
  ports: z
    .array(z.looseObject({ name: z.string().nullish(), port: port.nullish(), protocol: z.string().nullish() }))
    .nullish()
    .transform(value => value ?? []),
})

export type Service = KindObject<'Service', { readonly spec: z.output<typeof serviceSchema>['spec'] }>
export type EndpointSlice = KindObject<
  'EndpointSlice',
  Pick<z.output<typeof endpointSliceSchema>, 'addressType' | 'endpoints' | 'ports'>
>
