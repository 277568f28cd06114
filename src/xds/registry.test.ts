import { existsSync, readFileSync } from 'node:fs'
import { create, fromBinary, type JsonObject, toBinary } from '@bufbuild/protobuf'
import { anyUnpack, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { describe, expect, it } from '@jest/globals'
import { formatProblem } from '../config/problem.ts'
import { ClusterSchema } from '../gen/envoy/config/cluster/v3/cluster_pb.ts'
import { ListenerSchema } from '../gen/envoy/config/listener/v3/listener_pb.ts'
import { RouteConfigurationSchema } from '../gen/envoy/config/route/v3/route_pb.ts'
import { ExtProcPerRouteSchema } from '../gen/envoy/extensions/filters/http/ext_proc/v3/ext_proc_pb.ts'
import { ProcessingMode_BodySendMode } from '../gen/envoy/extensions/filters/http/ext_proc/v3/processing_mode_pb.ts'
import { TypedStructSchema } from '../gen/xds/type/v3/typed_struct_pb.ts'
import { InvalidResourcesError } from './invalid-resources-error.ts'
import { DescriptorSetError, ResourceRegistry } from './registry.ts'
import { TypeUrl } from './type-urls.ts'

const registry = new ResourceRegistry()
const fullDescriptors = new URL('../../../shared/envoy-api/envoy-v1.39.binpb', import.meta.url)

/** The lines that a refused resource reports. */
function problemsOf(json: JsonObject, typeUrl: string = TypeUrl.CLUSTER): string[] {
  try {
    registry.encodeResource(json, typeUrl)
  } catch (error) {
    if (error instanceof InvalidResourcesError) return error.problems.map(formatProblem)
    throw error
  }
  return []
}

describe('encodeResource', () => {
  it('takes snake_case and camelCase to the same bytes and version', () => {
    const camel = registry.encodeResource(
      { name: 'a', connectTimeout: '1s', edsClusterConfig: { serviceName: 'b', edsConfig: { ads: {} } }, type: 'EDS' },
      TypeUrl.CLUSTER,
    )
    const snake = registry.encodeResource(
      {
        '@type': TypeUrl.CLUSTER,
        type: 'EDS',
        eds_cluster_config: { eds_config: { ads: {} }, service_name: 'b' },
        connect_timeout: '1s',
        name: 'a',
      },
      TypeUrl.CLUSTER,
    )
    expect(snake).toEqual(camel)
    expect(camel).toMatchObject({ name: 'a', typeUrl: TypeUrl.CLUSTER, endpointsName: 'b' })
    expect(fromBinary(ClusterSchema, camel.bytes).connectTimeout?.seconds).toBe(1n)
  })

  it('gives equal content one version whatever the order of map keys, and changed content another', () => {
    const cluster = (metadata: JsonObject) =>
      registry.encodeResource({ name: 'a', metadata: { filterMetadata: metadata } }, TypeUrl.CLUSTER).version
    const one = cluster({ x: { a: 1, b: { c: 1, d: [{ e: 1, f: 2 }] } }, y: {} })
    expect(cluster({ y: {}, x: { b: { d: [{ f: 2, e: 1 }], c: 1 }, a: 1 } })).toBe(one)
    expect(cluster({ y: {}, x: { b: { d: [{ f: 2, e: 1 }], c: 2 }, a: 1 } })).not.toBe(one)
  })

  it('names a ClusterLoadAssignment after its cluster', () => {
    expect(registry.encodeResource({ clusterName: 'pool' }, TypeUrl.ENDPOINTS).name).toBe('pool')
  })

  it('encodes known types inside Any', () => {
    const perRoute = {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute',
      overrides: { processing_mode: { request_body_mode: 'STREAMED' } },
    }
    const encoded = registry.encodeResource(
      {
        name: 'r',
        virtual_hosts: [{ name: 'v', domains: ['*'], typed_per_filter_config: { 'signalbox.ext_proc': perRoute } }],
      },
      TypeUrl.ROUTE,
    )
    const any = fromBinary(RouteConfigurationSchema, encoded.bytes).virtualHosts[0]!.typedPerFilterConfig[
      'signalbox.ext_proc'
    ]!
    expect(anyUnpack(any, ExtProcPerRouteSchema)?.override).toMatchObject({
      case: 'overrides',
      value: { processingMode: { requestBodyMode: ProcessingMode_BodySendMode.STREAMED } },
    })
  })

  it('turns an Any of an unknown type into a TypedStruct', () => {
    const lua = {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua',
      default_source_code: { inline_string: 'x' },
    }
    const encoded = registry.encodeResource(
      { name: 'l', filter_chains: [{ filters: [{ name: 'lua', typed_config: lua }] }] },
      TypeUrl.LISTENER,
    )
    const config = fromBinary(ListenerSchema, encoded.bytes).filterChains[0]!.filters[0]!.configType
    if (config.case !== 'typedConfig') throw new Error('no typed_config')
    expect(anyUnpack(config.value, TypedStructSchema)).toMatchObject({
      typeUrl: 'type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua',
      value: { default_source_code: { inline_string: 'x' } },
    })
  })

  it('keeps hostile keys as data', () => {
    const metadata = JSON.parse('{"__proto__": {"polluted": true}}') as JsonObject
    const encoded = registry.encodeResource(
      { name: 'a', metadata: { filterMetadata: { x: metadata } } },
      TypeUrl.CLUSTER,
    )
    expect(Object.keys(fromBinary(ClusterSchema, encoded.bytes).metadata!.filterMetadata['x']!)).toEqual(['__proto__'])
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  it('reports every problem with its path', () => {
    expect(
      problemsOf({
        name: 'c',
        conect_timeout: '1s',
        loadAssignment: { endpoints: [{ lbEndpoints: [{ endpoint: { adress: {} } }, 3] }] },
        type: 'EDS',
        clusterType: {},
      }),
    ).toEqual([
      'error: Cluster c: conect_timeout: envoy.config.cluster.v3.Cluster has no field "conect_timeout" (did you mean "connect_timeout"?) (unknown-field)',
      'error: Cluster c: loadAssignment.endpoints[0].lbEndpoints[0].endpoint.adress: envoy.config.endpoint.v3.Endpoint has no field "adress" (did you mean "address"?) (unknown-field)',
      'error: Cluster c: loadAssignment.endpoints[0].lbEndpoints[1]: expected an object of envoy.config.endpoint.v3.LbEndpoint, got number (invalid-value)',
      'error: Cluster c: clusterType: cannot be set together with "type" (duplicate-field)',
    ])
  })

  it('reports bad values with their paths, also inside Any, lists and maps', () => {
    const hcm = {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
      stream_idle_timeout: '5 minutes',
      codec_type: 'HTTP9',
    }
    const problems = problemsOf(
      {
        name: 'l',
        per_connection_buffer_limit_bytes: -1,
        filter_chains: [
          { filter_chain_match: { server_names: ['a', 1] }, filters: [{ name: 'h', typed_config: hcm }] },
        ],
      },
      TypeUrl.LISTENER,
    )
    expect(problems.map(line => line.split(': ')[2])).toEqual([
      'per_connection_buffer_limit_bytes',
      'filter_chains[0].filter_chain_match.server_names[1]',
      'filter_chains[0].filters[0].typed_config.stream_idle_timeout',
      'filter_chains[0].filters[0].typed_config.codec_type',
    ])
  })

  it.each([
    ['no name', { type: 'EDS' }, TypeUrl.CLUSTER, /Cluster \(no name\): name: needs a name \(missing-name\)/],
    [
      'another type',
      { '@type': TypeUrl.ROUTE, name: 'x' },
      TypeUrl.CLUSTER,
      /expected envoy.config.cluster.v3.Cluster/,
    ],
    [
      'an unknown top type',
      { '@type': 'type.googleapis.com/a.B', name: 'x' },
      'type.googleapis.com/a.B',
      /no descriptor of "a.B".*\(unknown-type\)/,
    ],
    [
      'an Any without type',
      { name: 'x', transportSocket: { typedConfig: {} } },
      TypeUrl.CLUSTER,
      /transportSocket.typedConfig\["@type"\]|typedConfig\.@type/,
    ],
    [
      'both spellings of a field',
      { name: 'x', altStatName: 'a', alt_stat_name: 'b' },
      TypeUrl.CLUSTER,
      /alt_stat_name: cannot be set together with "altStatName"/,
    ],
  ])('refuses %s', (_, json, typeUrl, expected) => {
    expect(problemsOf(json, typeUrl).join('\n')).toMatch(expected)
  })
})

describe('normalizeResource', () => {
  it('gives canonical JSON and keeps unknown types as they were written', () => {
    const lua = {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua',
      default_source_code: { inline_string: 'x' },
    }
    const listener = {
      name: 'l',
      traffic_direction: 2,
      listener_filters_timeout: '0.5s',
      filter_chains: [{ filters: [{ name: 'lua', typed_config: lua }] }],
    }
    expect(registry.normalizeResource(listener, TypeUrl.LISTENER)).toEqual({
      name: 'l',
      trafficDirection: 'OUTBOUND',
      listenerFiltersTimeout: '0.500s',
      filterChains: [{ filters: [{ name: 'lua', typedConfig: lua }] }],
    })
  })
})

describe('loadDescriptors', () => {
  it('refuses bytes that are no complete set', () => {
    expect(() => new ResourceRegistry().loadDescriptors(Uint8Array.of(255, 1, 2))).toThrow(DescriptorSetError)
    const incomplete = create(FileDescriptorSetSchema, {
      file: [create(FileDescriptorProtoSchema, { name: 'a.proto', dependency: ['missing.proto'] })],
    })
    expect(() => new ResourceRegistry().loadDescriptors(toBinary(FileDescriptorSetSchema, incomplete))).toThrow(
      DescriptorSetError,
    )
  })

  it('makes a new type usable at the top and inside Any', () => {
    // message Greeting { string name = 1; int32 level = 2; }
    const file = create(FileDescriptorProtoSchema, {
      name: 'greeting.proto',
      package: 'test',
      syntax: 'proto3',
      messageType: [
        {
          name: 'Greeting',
          field: [
            { name: 'name', number: 1, type: 9, label: 1, jsonName: 'name' },
            { name: 'level', number: 2, type: 5, label: 1, jsonName: 'level' },
          ],
        },
      ],
    })
    const own = new ResourceRegistry()
    own.loadDescriptors(toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] })))
    const greeting = { '@type': 'type.googleapis.com/test.Greeting', name: 'hi', level: 3 }
    expect([...own.encodeResource(greeting).bytes]).toEqual([0x0a, 2, 0x68, 0x69, 0x10, 3])
    const cluster = own.encodeResource(
      { name: 'a', transportSocket: { name: 't', typedConfig: greeting } },
      TypeUrl.CLUSTER,
    )
    const config = fromBinary(ClusterSchema, cluster.bytes).transportSocket!.configType
    expect(config.value?.value).toEqual(Uint8Array.of(0x0a, 2, 0x68, 0x69, 0x10, 3))
    expect(() => own.encodeResource({ ...greeting, level: 'high' })).toThrow(/Greeting hi: level: /)
  })

  ;(existsSync(fullDescriptors) ? it : it.skip)('adds the fields that our subset leaves out', () => {
    const full = new ResourceRegistry()
    const cluster = { name: 'a', lrsServer: { self: {} } }
    expect(() => full.encodeResource(cluster, TypeUrl.CLUSTER)).toThrow(/lrsServer.*unknown-field/)
    full.loadDescriptors(readFileSync(fullDescriptors))
    expect(full.encodeResource(cluster, TypeUrl.CLUSTER).bytes.length).toBeGreaterThan(3)
  })
})
