import { PLUG_METADATA, type PlugPlan } from '../../pipeline/plan.ts'
import { EXT_PROC_PORT, type Manifest } from './manifest.ts'
import { pickerServices } from './pool.ts'
import type { ManifestValues, PoolValues } from './values.ts'

/** No other filter of an Istio gateway has this name; under Istio's own the plug would get the routes' endpoint picker. */
const FILTER = 'signalbox.ext_proc'
const OURS = 'type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor'
const LOAD_BALANCING = 'type.googleapis.com/envoy.extensions.load_balancing_policies'
/** What the gateway holds of a body while the plug looks at it: the cap that Signalbox refuses beyond. */
const HELD_BYTES = 32 * 1024 * 1024
/** A body may take its time: Signalbox ends the wait. */
const UPLOAD = '300s'

/**
 * Signalbox as the first filter of an Istio gateway. Look mode: the gateway holds the body, sends a copy, and goes on with its own as soon
 * as we have answered the headers, so nothing of it comes back. What the gateway's virtual hosts hold is raised for that.
 */
export function plugFilter(values: ManifestValues, plug: keyof PlugPlan): Manifest {
  const { name, namespace, gatewayNamespace, gateway, failureMode } = values
  const host = `${pickerServices(values)[0]}.${namespace}.svc.cluster.local`
  const picks = plug === 'pick'
  return {
    apiVersion: 'networking.istio.io/v1alpha3',
    kind: 'EnvoyFilter',
    metadata: {
      name: `${name}-plug`,
      namespace: gatewayNamespace,
      // The gateway must have the cluster though no route leads there.
      annotations: { 'envoyfilter.istio.io/referenced-services': `${namespace}/${host}` },
    },
    spec: {
      targetRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: gateway }],
      priority: -10,
      configPatches: [
        {
          applyTo: 'HTTP_FILTER',
          match: {
            context: 'GATEWAY',
            listener: { filterChain: { filter: { name: 'envoy.filters.network.http_connection_manager' } } },
          },
          patch: {
            operation: 'INSERT_FIRST',
            value: {
              name: FILTER,
              typed_config: {
                '@type': OURS,
                grpc_service: {
                  envoy_grpc: { cluster_name: `outbound|${EXT_PROC_PORT}||${host}` },
                  initial_metadata: [{ key: PLUG_METADATA, value: plug }],
                },
                failure_mode_allow: failureMode === 'FailOpen',
                processing_mode: {
                  request_header_mode: 'SEND',
                  response_header_mode: picks ? 'SEND' : 'SKIP',
                  request_body_mode: 'STREAMED',
                  response_body_mode: 'NONE',
                  request_trailer_mode: 'SKIP',
                  response_trailer_mode: 'SKIP',
                },
                send_body_without_waiting_for_header_response: true,
                message_timeout: UPLOAD,
                metadata_options: picks
                  ? {
                      forwarding_namespaces: { untyped: ['envoy.lb', 'envoy.lb.subset_hint'] },
                      receiving_namespaces: { untyped: ['envoy.lb'] },
                    }
                  : undefined,
              },
            },
          },
        },
        {
          applyTo: 'VIRTUAL_HOST',
          match: { context: 'GATEWAY' },
          patch: { operation: 'MERGE', value: { request_body_buffer_limit: HELD_BYTES } },
        },
        ...(picks ? values.pools.map(pool => chosenByUs(values, pool)) : []),
      ],
    },
  }
}

/** The cluster of a pool's Service goes where the plug says, and to the next of the list when that one fails. */
function chosenByUs(values: ManifestValues, pool: PoolValues) {
  const source = (key: string) => ({ metadata: { key: 'envoy.lb', path: [{ key }] } })
  const served = source('x-gateway-destination-endpoint-served').metadata
  return {
    applyTo: 'CLUSTER',
    match: { context: 'GATEWAY', cluster: { service: `${pool.name}.${values.namespace}.svc.cluster.local` } },
    patch: {
      operation: 'MERGE',
      value: {
        lb_policy: 'CLUSTER_PROVIDED',
        load_balancing_policy: {
          policies: [
            {
              typed_extension_config: {
                name: 'envoy.load_balancing_policies.override_host',
                typed_config: {
                  '@type': `${LOAD_BALANCING}.override_host.v3.OverrideHost`,
                  override_host_sources: [source('x-gateway-destination-endpoint')],
                  selected_host_key: served,
                  fallback_policy: {
                    policies: [
                      {
                        typed_extension_config: {
                          name: 'envoy.load_balancing_policies.round_robin',
                          typed_config: { '@type': `${LOAD_BALANCING}.round_robin.v3.RoundRobin` },
                        },
                      },
                    ],
                  },
                },
              },
            },
          ],
        },
      },
    },
  }
}

/** The pods of a pool for the gateway's routes: no InferencePool, or Istio would ask its picker again. */
export function podService({ namespace, targetPort, h2c }: ManifestValues, { name, labels }: PoolValues): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: {
      selector: labels,
      ports: [{ name: 'http', port: targetPort, targetPort, appProtocol: h2c ? 'kubernetes.io/h2c' : 'http' }],
    },
  }
}
