/** Envoy clusters and their endpoints, read into what the embedded data plane runs. */
import { readFileSync } from 'node:fs'
import {
  type Cluster,
  Cluster_DiscoveryType as Discovery,
  Cluster_LbPolicy as LbPolicy,
  ClusterSchema,
  type LoadBalancingPolicy,
} from '../gen/envoy/config/cluster/v3/cluster_pb.ts'
import type { Address } from '../gen/envoy/config/core/v3/address_pb.ts'
import type { DataSource } from '../gen/envoy/config/core/v3/base_pb.ts'
import { HealthStatus } from '../gen/envoy/config/core/v3/health_check_pb.ts'
import type { Http2ProtocolOptions } from '../gen/envoy/config/core/v3/protocol_pb.ts'
import { type ClusterLoadAssignment, ClusterLoadAssignmentSchema } from '../gen/envoy/config/endpoint/v3/endpoint_pb.ts'
import { LeastRequestSchema } from '../gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts'
import {
  type OverrideHost,
  OverrideHostSchema,
} from '../gen/envoy/extensions/load_balancing_policies/override_host/v3/override_host_pb.ts'
import { RoundRobinSchema } from '../gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts'
import {
  Subset_LbSubsetFallbackPolicy,
  SubsetSchema,
} from '../gen/envoy/extensions/load_balancing_policies/subset/v3/subset_pb.ts'
import { UpstreamTlsContextSchema } from '../gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import {
  type HttpProtocolOptions,
  HttpProtocolOptionsSchema,
} from '../gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts'
import type { MetadataKey } from '../gen/envoy/type/metadata/v3/metadata_pb.ts'
import type { Balancing, ClusterSettings, EndpointSettings, Fallback, MetadataPath } from './cluster.ts'
import { milliseconds, pathOf, type Problems, readResource, unpack, unpackAs } from './resource-reader.ts'
import type { TlsClient, Transport } from './transport.ts'
import type { JsonObject } from '@bufbuild/protobuf'

const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'
const DEFAULT_STREAM_WINDOW = 16 * 1024 * 1024
const DEFAULT_CONNECTION_WINDOW = 24 * 1024 * 1024
const DEFAULT_BUFFER = 1024 * 1024

/**
 * What has no effect here. Health checks: a dead endpoint is noticed when a connection to it can't be made or a PING isn't
 * answered; how many connections there are is node's business.
 */
const HARMLESS = [
  'altStatName',
  'healthChecks',
  'dnsLookupFamily',
  'cleanupInterval',
  'upstreamConnectionOptions',
  'metadata',
  'ignoreHealthOnHostRemoval',
  'closeConnectionsOnHostHealthFailure',
  'trackClusterStats',
  'waitForWarmOnInit',
]
const READ = [
  'name',
  'clusterDiscoveryType',
  'edsClusterConfig',
  'connectTimeout',
  'perConnectionBufferLimitBytes',
  'lbPolicy',
  'loadAssignment',
  'circuitBreakers',
  'typedExtensionProtocolOptions',
  'commonLbConfig',
  'transportSocket',
  'loadBalancingPolicy',
]

export function readClusters(
  clusters: readonly JsonObject[],
  assignments: readonly JsonObject[],
  problems: Problems,
): ClusterSettings[] {
  const byName = new Map<string, ClusterLoadAssignment>()
  for (const json of assignments) {
    const path = pathOf('endpoints', json['clusterName'])
    const assignment = readResource(path, ClusterLoadAssignmentSchema, json, problems)
    if (assignment !== undefined) byName.set(assignment.clusterName, assignment)
  }
  return clusters.flatMap(json => {
    const path = pathOf('cluster', json['name'])
    const cluster = readResource(path, ClusterSchema, json, problems)
    return cluster === undefined ? [] : [readCluster(path, cluster, byName, problems)]
  })
}

function readCluster(
  path: string,
  cluster: Cluster,
  assignments: ReadonlyMap<string, ClusterLoadAssignment>,
  problems: Problems,
): ClusterSettings {
  problems.unsupported(path, ClusterSchema, cluster, [...READ, ...HARMLESS])
  const options = readHttpOptions(path, cluster, problems)
  const tls = readTls(path, cluster, problems)
  const connectTimeoutMs = milliseconds(cluster.connectTimeout, 5000)
  const http2 = http2Of(options)
  const ours = {
    streamWindow: http2?.initialStreamWindowSize ?? DEFAULT_STREAM_WINDOW,
    connectionWindow: http2?.initialConnectionWindowSize ?? DEFAULT_CONNECTION_WINDOW,
    connectTimeoutMs,
    keepaliveIntervalMs: milliseconds(http2?.connectionKeepalive?.interval, 0),
    keepaliveTimeoutMs: milliseconds(http2?.connectionKeepalive?.timeout, 0),
    idleTimeoutMs: milliseconds(options?.commonHttpProtocolOptions?.idleTimeout, 3_600_000),
  }
  const protocol = protocolOf(options)
  return {
    name: cluster.name,
    transportId: JSON.stringify([protocol, tls, ours]),
    protocol,
    connectTimeoutMs,
    bufferLimit: cluster.perConnectionBufferLimitBytes ?? DEFAULT_BUFFER,
    http1Trailers: http1Trailers(options),
    http2: ours,
    maxRequests: cluster.circuitBreakers?.thresholds.find(limit => limit.priority === 0)?.maxRequests ?? 1024,
    panicThreshold: cluster.commonLbConfig?.healthyPanicThreshold?.value ?? 50,
    balancing: readBalancing(path, cluster, problems),
    endpoints: endpointsOf(path, cluster, assignments, tls, problems),
  }
}

function endpointsOf(
  path: string,
  cluster: Cluster,
  assignments: ReadonlyMap<string, ClusterLoadAssignment>,
  tls: TlsClient | undefined,
  problems: Problems,
): EndpointSettings[] {
  const { clusterDiscoveryType: type } = cluster
  if (type.case === 'clusterType') {
    problems.add(path, `cluster type ${type.value.name} is not served`)
    return []
  }
  if (type.case === 'type' && type.value === Discovery.ORIGINAL_DST) problems.add(path, 'ORIGINAL_DST is not served')
  const serviceName = cluster.edsClusterConfig?.serviceName || cluster.name
  const assignment =
    type.case === 'type' && type.value === Discovery.EDS ? assignments.get(serviceName) : cluster.loadAssignment
  return (assignment?.endpoints ?? []).flatMap(locality =>
    locality.lbEndpoints.flatMap(endpoint => {
      const address = endpoint.hostIdentifier.case === 'endpoint' ? endpoint.hostIdentifier.value.address : undefined
      const transport = transportOf(address, tls)
      if (transport === undefined) {
        problems.add(path, 'an endpoint without a socket address or pipe')
        return []
      }
      const healthy =
        endpoint.healthStatus === HealthStatus.UNKNOWN ||
        endpoint.healthStatus === HealthStatus.HEALTHY ||
        endpoint.healthStatus === HealthStatus.DEGRADED
      return [{ transport, healthy, weight: endpoint.loadBalancingWeight ?? 1, priority: locality.priority }]
    }),
  )
}

function transportOf(address: Address | undefined, tls: TlsClient | undefined): Transport | undefined {
  const value = address?.address
  if (value?.case === 'pipe') return { name: value.value.path, address: { path: value.value.path }, tls }
  if (value?.case !== 'socketAddress' || value.value.portSpecifier.case !== 'portValue') return undefined
  const host = value.value.address
  const port = value.value.portSpecifier.value
  return { name: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`, address: { host, port }, tls }
}

function readHttpOptions(path: string, cluster: Cluster, problems: Problems): HttpProtocolOptions | undefined {
  for (const key of Object.keys(cluster.typedExtensionProtocolOptions))
    if (key !== HTTP_OPTIONS) problems.add(path, `${key} is not served`)
  const options = unpackAs(cluster.typedExtensionProtocolOptions[HTTP_OPTIONS], HttpProtocolOptionsSchema)
  if (options !== undefined)
    problems.unsupported(path, HttpProtocolOptionsSchema, options, [
      'commonHttpProtocolOptions',
      'upstreamHttpProtocolOptions',
      'upstreamProtocolOptions',
    ])
  return options
}

function http2Of(options: HttpProtocolOptions | undefined): Http2ProtocolOptions | undefined {
  const protocol = options?.upstreamProtocolOptions
  if (protocol?.case === 'useDownstreamProtocolConfig') return protocol.value.http2ProtocolOptions
  return protocol?.value?.protocolConfig.case === 'http2ProtocolOptions'
    ? protocol.value.protocolConfig.value
    : undefined
}

function protocolOf(options: HttpProtocolOptions | undefined): ClusterSettings['protocol'] {
  const protocol = options?.upstreamProtocolOptions
  if (protocol?.case === 'useDownstreamProtocolConfig') return 'downstream'
  return protocol?.value?.protocolConfig.case === 'http2ProtocolOptions' ? 'http2' : 'http1'
}

function http1Trailers(options: HttpProtocolOptions | undefined): boolean {
  const protocol = options?.upstreamProtocolOptions
  if (protocol?.case === 'useDownstreamProtocolConfig')
    return protocol.value.httpProtocolOptions?.enableTrailers === true
  return (
    protocol?.value?.protocolConfig.case === 'httpProtocolOptions' && protocol.value.protocolConfig.value.enableTrailers
  )
}

function readBalancing(path: string, cluster: Cluster, problems: Problems): Balancing {
  const policy = cluster.loadBalancingPolicy
  if (policy !== undefined) return readPolicy(path, policy, problems)
  const byName: Partial<Record<number, Fallback>> = {
    [LbPolicy.ROUND_ROBIN]: 'round-robin',
    [LbPolicy.LEAST_REQUEST]: 'least-request',
    [LbPolicy.RANDOM]: 'random',
  }
  const fallback = byName[cluster.lbPolicy]
  if (fallback === undefined) problems.add(path, `lb_policy ${cluster.lbPolicy} is not served`)
  return { sources: [], selectedKey: undefined, fallback: fallback ?? 'round-robin' }
}

/** The first policy that is known here, as Envoy takes the first that it knows. */
function readPolicy(path: string, policy: LoadBalancingPolicy, problems: Problems): Balancing {
  for (const { typedExtensionConfig } of policy.policies) {
    const config = unpack(typedExtensionConfig?.typedConfig)
    const plain = (fallback: Fallback): Balancing => ({ sources: [], selectedKey: undefined, fallback })
    if (config?.$typeName === RoundRobinSchema.typeName) return plain('round-robin')
    if (config?.$typeName === LeastRequestSchema.typeName) return plain('least-request')
    const subset = unpackAs(typedExtensionConfig?.typedConfig, SubsetSchema)
    if (subset?.fallbackPolicy === Subset_LbSubsetFallbackPolicy.NO_FALLBACK) return plain('none')
    const override = unpackAs(typedExtensionConfig?.typedConfig, OverrideHostSchema)
    if (override !== undefined) return readOverride(path, override, problems)
  }
  problems.add(path, 'none of the load balancing policies is served')
  return { sources: [], selectedKey: undefined, fallback: 'none' }
}

function readOverride(path: string, override: OverrideHost, problems: Problems): Balancing {
  const fallback =
    override.fallbackPolicy === undefined ? undefined : readPolicy(path, override.fallbackPolicy, problems).fallback
  if (fallback === undefined) problems.add(path, 'override_host needs a fallback_policy')
  return {
    sources: override.overrideHostSources.map(source =>
      source.metadata === undefined
        ? { type: 'header', name: source.header.toLowerCase() }
        : { type: 'metadata', path: metadataPath(source.metadata) },
    ),
    selectedKey: override.selectedHostKey === undefined ? undefined : metadataPath(override.selectedHostKey),
    fallback: fallback ?? 'none',
  }
}

function metadataPath(key: MetadataKey): MetadataPath {
  return {
    namespace: key.key,
    keys: key.path.flatMap(part => (part.segment.case === 'key' ? [part.segment.value] : [])),
  }
}

function readTls(path: string, cluster: Cluster, problems: Problems): TlsClient | undefined {
  const socket = cluster.transportSocket
  if (socket === undefined) return undefined
  const context = unpackAs(socket.configType.value, UpstreamTlsContextSchema)
  if (context === undefined) {
    problems.add(path, `transport socket ${socket.name} is not served`)
    return undefined
  }
  const common = context.commonTlsContext
  const validation = common?.validationContextType
  if (validation?.case !== undefined && validation.case !== 'validationContext')
    problems.add(path, `${validation.case} is not served for upstreams`)
  const ca = validation?.case === 'validationContext' ? validation.value.trustedCa : undefined
  const matchers = validation?.case === 'validationContext' ? validation.value.matchTypedSubjectAltNames : []
  const names = matchers.flatMap(({ matcher }) => {
    if (matcher?.matchPattern.case === 'exact') return [matcher.matchPattern.value]
    problems.add(path, 'subject alternative names are only matched exactly')
    return []
  })
  const certificate = common?.tlsCertificates[0]
  return {
    ca: readData(ca),
    names,
    cert: readData(certificate?.certificateChain),
    key: readData(certificate?.privateKey),
    serverName: context.sni === '' ? undefined : context.sni,
  }
}

/** Text of a data source; undefined when there is none. Throws the file system's error for a file that can't be read. */
export function readData(source: DataSource | undefined): string | undefined {
  const { specifier } = source ?? {}
  if (specifier?.case === undefined) return undefined
  if (specifier.case === 'inlineBytes') return Buffer.from(specifier.value).toString('utf8')
  if (specifier.case === 'inlineString') return specifier.value
  return specifier.case === 'filename' ? readFileSync(specifier.value, 'utf8') : (process.env[specifier.value] ?? '')
}
