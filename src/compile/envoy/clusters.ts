import { isIP } from 'node:net'
import type { CircuitBreakersJson } from '../../gen/envoy/config/cluster/v3/circuit_breaker_pb.ts'
import type { ClusterJson, LoadBalancingPolicyJson } from '../../gen/envoy/config/cluster/v3/cluster_pb.ts'
import type { AddressJson } from '../../gen/envoy/config/core/v3/address_pb.ts'
import type { TransportSocketJson } from '../../gen/envoy/config/core/v3/base_pb.ts'
import type { Http2ProtocolOptionsJson } from '../../gen/envoy/config/core/v3/protocol_pb.ts'
import type { ClusterLoadAssignmentJson } from '../../gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { OverrideHostSchema } from '../../gen/envoy/extensions/load_balancing_policies/override_host/v3/override_host_pb.ts'
import { LeastRequestSchema } from '../../gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts'
import { RoundRobinSchema } from '../../gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts'
import { SubsetSchema } from '../../gen/envoy/extensions/load_balancing_policies/subset/v3/subset_pb.ts'
import { UpstreamTlsContextSchema } from '../../gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { HttpProtocolOptionsSchema } from '../../gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts'
import { EXT_PROC_CLUSTER } from '../names.ts'
import { OVER_ADS, pack } from './json.ts'

/** Where a service of ours listens: `host:port`s (IPv6 in brackets), or paths of Unix sockets; with `tls`: not in plaintext. */
export type Upstream = ({ readonly addresses: readonly string[] } | { readonly pipes: readonly string[] }) & {
  readonly tls?: UpstreamTls
}

/** How Envoy speaks TLS to a service of ours. */
export interface UpstreamTls {
  /** PEM of the authority; the certificate must then be for the host that Envoy reaches. Absent: it is not verified. */
  readonly ca?: string
  /** What Envoy shows: PEM files on Envoy's machine, so that no key travels over xDS. */
  readonly clientCertificate?: { readonly certFile: string; readonly keyFile: string }
}

export type AppProtocol = 'http' | 'kubernetes.io/h2c'

/** The namespace and keys of the endpoint picker protocol. */
const LB_NAMESPACE = 'envoy.lb'
const DESTINATION_KEY = 'x-gateway-destination-endpoint'
const SERVED_KEY = 'x-gateway-destination-endpoint-served'

const UNLIMITED = 4_294_967_295
/**
 * Envoy's default of 1024 is far below what long LLM streams need; who queues is decided by the picker, not by a breaker.
 */
const OPEN_BREAKERS: CircuitBreakersJson = {
  thresholds: (['DEFAULT', 'HIGH'] as const).map(priority => ({
    priority,
    maxConnections: UNLIMITED,
    maxPendingRequests: UNLIMITED,
    maxRequests: UNLIMITED,
    maxRetries: UNLIMITED,
  })),
}

/** uvicorn (and so vLLM) closes idle connections after 5 s: leave first, or a request meets the closing connection. */
const UPSTREAM_IDLE = '4s'

function policy(name: string, typedConfig: ReturnType<typeof pack>): LoadBalancingPolicyJson {
  return { policies: [{ typedExtensionConfig: { name: `envoy.load_balancing_policies.${name}`, typedConfig } }] }
}

const LEAST_REQUEST = policy('least_request', pack(LeastRequestSchema, {}))
/** Chooses no host, ever: no request matches the selector, and there is no fallback. */
const NO_HOST = policy(
  'subset',
  pack(SubsetSchema, {
    fallbackPolicy: 'NO_FALLBACK',
    subsetSelectors: [{ keys: ['signalbox-no-host'], fallbackPolicy: 'NO_FALLBACK' }],
    subsetLbPolicy: policy('round_robin', pack(RoundRobinSchema, {})),
  }),
)

/**
 * Cluster of an InferencePool: takes the hosts that the picker lists, in order. `failOpen`: balances by itself when none is
 * listed; else such a request is a 503. The source is metadata only: a header could be sent by a client.
 */
export function poolClusterJson(name: string, protocol: AppProtocol, failOpen: boolean): ClusterJson {
  return {
    ...edsCluster(name, protocol),
    loadBalancingPolicy: policy(
      'override_host',
      pack(OverrideHostSchema, {
        overrideHostSources: [{ metadata: { key: LB_NAMESPACE, path: [{ key: DESTINATION_KEY }] } }],
        selectedHostKey: { key: LB_NAMESPACE, path: [{ key: SERVED_KEY }] },
        fallbackPolicy: failOpen ? LEAST_REQUEST : NO_HOST,
      }),
    ),
  }
}

/** Cluster that Envoy balances, endpoints by EDS. */
export function balancedClusterJson(name: string, protocol: AppProtocol): ClusterJson {
  return { ...edsCluster(name, protocol), loadBalancingPolicy: LEAST_REQUEST }
}

/** Cluster of host names, which Envoy resolves. */
export function dnsClusterJson(name: string, protocol: AppProtocol, endpoints: readonly HostPort[]): ClusterJson {
  return {
    name,
    type: 'STRICT_DNS',
    dnsLookupFamily: 'V4_PREFERRED',
    ...base(protocol),
    loadBalancingPolicy: LEAST_REQUEST,
    loadAssignment: loadAssignmentJson(name, endpoints),
  }
}

function edsCluster(name: string, protocol: AppProtocol): ClusterJson {
  return { name, type: 'EDS', edsClusterConfig: { edsConfig: OVER_ADS, serviceName: name }, ...base(protocol) }
}

function base(protocol: AppProtocol): ClusterJson {
  const explicitHttpConfig =
    protocol === 'http' ? { httpProtocolOptions: { enableTrailers: true } } : { http2ProtocolOptions: {} }
  return {
    connectTimeout: '2s',
    circuitBreakers: OPEN_BREAKERS,
    typedExtensionProtocolOptions: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': pack(HttpProtocolOptionsSchema, {
        commonHttpProtocolOptions: { idleTimeout: UPSTREAM_IDLE },
        explicitHttpConfig,
      }),
    },
  }
}

export interface HostPort {
  readonly host: string
  readonly port: number
}

export function loadAssignmentJson(clusterName: string, endpoints: readonly HostPort[]): ClusterLoadAssignmentJson {
  return addressAssignment(
    clusterName,
    endpoints.map(({ host, port }) => ({ socketAddress: { address: host, portValue: port } })),
  )
}

function addressAssignment(clusterName: string, addresses: readonly AddressJson[]): ClusterLoadAssignmentJson {
  return { clusterName, endpoints: [{ lbEndpoints: addresses.map(address => ({ endpoint: { address } })) }] }
}

/**
 * Cluster of the decision service. A dead server is found by PINGs and health checks within about two seconds; with a panic
 * threshold above 0 Envoy would go on sending it requests. The stream window bounds what one stream can make Envoy hold.
 *
 * Where the service has several threads, they are endpoints by EDS (`extProcAssignmentJson`), which may leave out one that has
 * died: Envoy forgets it at once, whatever its health check said last, and the others' connections stay.
 */
export function extProcClusterJson(upstream: Upstream): ClusterJson {
  const dynamic = extProcAssignmentJson(upstream) !== undefined
  return {
    ...grpcCluster(EXT_PROC_CLUSTER, upstream, dynamic ? BY_EDS : undefined),
    ...(dynamic ? { ignoreHealthOnHostRemoval: true } : {}),
    commonLbConfig: { healthyPanicThreshold: { value: 0 } },
    healthChecks: [
      {
        timeout: '1s',
        interval: '1s',
        noTrafficInterval: '1s',
        unhealthyThreshold: 2,
        healthyThreshold: 1,
        grpcHealthCheck: { serviceName: 'envoy.service.ext_proc.v3.ExternalProcessor' },
      },
    ],
  }
}

const BY_EDS: ClusterJson = {
  type: 'EDS',
  edsClusterConfig: { edsConfig: OVER_ADS, serviceName: EXT_PROC_CLUSTER },
}

/** Endpoints of the decision service, where it has several that EDS can name: names of hosts only DNS can resolve. */
export function extProcAssignmentJson(upstream: Upstream): ClusterLoadAssignmentJson | undefined {
  const { type, loadAssignment } = addressesOf(EXT_PROC_CLUSTER, upstream)
  const count = 'pipes' in upstream ? upstream.pipes.length : upstream.addresses.length
  return type === 'STATIC' && count > 1 ? loadAssignment : undefined
}

/** HTTP/2 cluster of a service of ours. `endpoints`: where it finds them. */
export function grpcCluster(name: string, upstream: Upstream, endpoints = addressesOf(name, upstream)): ClusterJson {
  const http2ProtocolOptions: Http2ProtocolOptionsJson = {
    initialStreamWindowSize: 256 * 1024,
    initialConnectionWindowSize: 16 * 1024 * 1024,
    connectionKeepalive: { interval: '2s', timeout: '1s' },
  }
  return {
    name,
    ...endpoints,
    connectTimeout: '2s',
    circuitBreakers: OPEN_BREAKERS,
    loadBalancingPolicy: LEAST_REQUEST,
    ...(upstream.tls === undefined ? {} : { transportSocket: tlsSocketJson(upstream, upstream.tls) }),
    typedExtensionProtocolOptions: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': pack(HttpProtocolOptionsSchema, {
        explicitHttpConfig: { http2ProtocolOptions },
      }),
    },
  }
}

function tlsSocketJson(upstream: Upstream, { ca, clientCertificate }: UpstreamTls): TransportSocketJson {
  const hosts = 'pipes' in upstream ? [] : [...new Set(upstream.addresses.map(address => parseHostPort(address).host))]
  const sni = hosts.find(host => isIP(host) === 0)
  const matchTypedSubjectAltNames = hosts.map(host => ({
    sanType: isIP(host) === 0 ? ('DNS' as const) : ('IP_ADDRESS' as const),
    matcher: { exact: host },
  }))
  return {
    name: 'envoy.transport_sockets.tls',
    typedConfig: pack(UpstreamTlsContextSchema, {
      ...(sni === undefined ? {} : { sni }),
      commonTlsContext: {
        alpnProtocols: ['h2'],
        ...(ca === undefined
          ? {}
          : { validationContext: { trustedCa: { inlineString: ca }, matchTypedSubjectAltNames } }),
        ...(clientCertificate === undefined
          ? {}
          : {
              tlsCertificates: [
                {
                  certificateChain: { filename: clientCertificate.certFile },
                  privateKey: { filename: clientCertificate.keyFile },
                },
              ],
            }),
      },
    }),
  }
}

function addressesOf(name: string, upstream: Upstream): ClusterJson {
  if ('pipes' in upstream) {
    const addresses = upstream.pipes.map(path => ({ pipe: { path } }))
    return { type: 'STATIC', loadAssignment: addressAssignment(name, addresses) }
  }
  const endpoints = upstream.addresses.map(parseHostPort)
  const named = endpoints.some(({ host }) => isIP(host) === 0)
  return {
    type: named ? 'STRICT_DNS' : 'STATIC',
    ...(named ? { dnsLookupFamily: 'V4_PREFERRED' as const } : {}),
    loadAssignment: loadAssignmentJson(name, endpoints),
  }
}

/** Splits `host:port`, `[::1]:port`. Throws a RangeError on anything else: these are options of ours, not user input. */
export function parseHostPort(text: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  if (match === null) throw new RangeError(`not a host:port: ${text}`)
  return { host: match[1] ?? match[2]!, port: Number(match[3]) }
}
