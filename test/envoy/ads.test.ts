/** The management server with a real Envoy that knows nothing but where the server is. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '@bufbuild/protobuf'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import type { EnvoyResources } from '../../src/config/envoy-resources.ts'
import type { AccessLogEntry } from '../../src/xds/access-log-reader.ts'
import { type AckEvent, AdsServer, type NackEvent } from '../../src/xds/ads-server.ts'
import { SnapshotCache } from '../../src/xds/snapshot-cache.ts'
import { TypeUrl } from '../../src/xds/type-urls.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { freePort } from '../support/free-ports.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { waitFor } from '../support/wait-for.ts'

const type = (name: string) => `type.googleapis.com/envoy.${name}`
const ads = { ads: {}, resourceApiVersion: 'V3' }
const HTTP_MANAGER = type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager')

function bootstrap(port: number): JsonObject {
  const h2 = {
    '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
    explicitHttpConfig: { http2ProtocolOptions: { connectionKeepalive: { interval: '2s', timeout: '2s' } } },
  }
  const xds: JsonObject = {
    name: 'xds',
    connectTimeout: '1s',
    loadAssignment: endpoints('xds', port),
    typedExtensionProtocolOptions: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': h2 },
  }
  const grpcServices = [
    { envoyGrpc: { clusterName: 'xds', retryPolicy: { retryBackOff: { baseInterval: '0.1s', maxInterval: '0.2s' } } } },
  ]
  return {
    node: { id: 'envoy-1', cluster: 'test' },
    staticResources: { clusters: [xds] },
    dynamicResources: {
      adsConfig: { apiType: 'GRPC', transportApiVersion: 'V3', grpcServices, setNodeOnFirstMessageOnly: true },
      cdsConfig: ads,
      ldsConfig: ads,
    },
  }
}

function endpoints(clusterName: string, portValue: number): JsonObject {
  const socketAddress = { address: '127.0.0.1', portValue }
  return { clusterName, endpoints: [{ lbEndpoints: [{ endpoint: { address: { socketAddress } } }] }] }
}

interface Config {
  /** Cluster → port of its backend. */
  readonly clusters: Readonly<Record<string, number>>
  /** Where everything is routed to. */
  readonly route: string
  readonly connectTimeout?: string
  readonly statPrefix?: string
}

/** One listener, one route; types that we have no descriptor of: Lua (filter and route), set_metadata. */
function resources({ clusters, route, connectTimeout = '1s', statPrefix = 'front' }: Config): EnvoyResources {
  const accessLog = {
    '@type': type('extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig'),
    common_config: {
      log_name: 'l',
      transport_api_version: 'V3',
      buffer_size_bytes: 0,
      grpc_service: { envoy_grpc: { cluster_name: 'xds' } },
    },
  }
  const lua = {
    '@type': type('extensions.filters.http.lua.v3.Lua'),
    default_source_code: {
      inline_string: 'function envoy_on_response(handle) handle:headers():add("x-lua", "on") end',
    },
  }
  const metadata = {
    '@type': type('extensions.filters.http.set_metadata.v3.Config'),
    metadata: [{ metadata_namespace: 'signalbox', value: { pool: 't-1', endpoint: 'e-1' } }],
  }
  const manager = {
    '@type': HTTP_MANAGER,
    stat_prefix: statPrefix,
    rds: { route_config_name: 'routes', config_source: ads },
    access_log: [{ name: 'grpc', typed_config: accessLog }],
    http_filters: [
      { name: 'lua', typed_config: lua },
      { name: 'set_metadata', typed_config: metadata },
      { name: 'router', typed_config: { '@type': type('extensions.filters.http.router.v3.Router') } },
    ],
  }
  const noLua = { lua: { '@type': type('extensions.filters.http.lua.v3.LuaPerRoute'), disabled: true } }
  return {
    clusters: Object.keys(clusters).map(name => ({
      name,
      type: 'EDS',
      connect_timeout: connectTimeout,
      eds_cluster_config: { eds_config: ads },
    })),
    endpoints: Object.entries(clusters).map(([name, port]) => endpoints(name, port)),
    listeners: [
      {
        name: 'front',
        address: { socketAddress: { address: '127.0.0.1', portValue: 0 } },
        filterChains: [{ filters: [{ name: 'http', typedConfig: manager }] }],
      },
    ],
    routes: [
      {
        name: 'routes',
        virtualHosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [
              { match: { prefix: '/plain' }, route: { cluster: route }, typedPerFilterConfig: noLua },
              { match: { prefix: '/' }, route: { cluster: route } },
            ],
          },
        ],
      },
    ],
    secrets: [],
    others: [],
  }
}

/** Answers everything with its name. */
async function backend(name: string): Promise<{ server: Server; port: number }> {
  const server = createServer((_, response) => response.end(name))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as AddressInfo).port }
}

describeOnEnvoy('AdsServer', ({ path: binary }) => {
  let one: { server: Server; port: number }
  let two: { server: Server; port: number }
  let cache: SnapshotCache
  let server: AdsServer
  let port: number
  let envoy: EnvoyProcess
  let acks: AckEvent[]
  let nacks: NackEvent[]
  let entries: AccessLogEntry[]

  beforeAll(async () => {
    one = await backend('one')
    two = await backend('two')
  })
  afterAll(() => {
    for (const { server: http } of [one, two]) {
      http.close()
      http.closeAllConnections()
    }
  })

  /** A wait for an acknowledgement that never comes would make each test time out. */
  async function serve(): Promise<void> {
    server = new AdsServer({
      cache,
      listen: { address: `127.0.0.1:${port}` },
      ackTimeoutMs: 3_600_000,
      onAck: event => acks.push(event),
      onNack: event => nacks.push(event),
      onAccessLog: entry => entries.push(entry),
    })
    await server.listen()
  }

  beforeEach(async () => {
    ;[acks, nacks, entries] = [[], [], []]
    cache = new SnapshotCache()
    port = await freePort()
    await serve()
    cache.set(resources({ clusters: { a: one.port }, route: 'a' }))
    envoy = await startEnvoy({ binary, bootstrap: bootstrap(port), concurrency: 1 })
    await envoy.ready()
  })
  afterEach(async () => {
    await envoy.stop()
    await server.close()
  })

  const get = async (path = '/') => sendHttp1({ port: await envoy.admin.listenerPort('front'), path })
  const answers = async () => (await get()).body.toString()
  const settled = () =>
    waitFor('Envoy to accept everything', () => {
      const types = server.status()[0]?.types ?? []
      return types.length === 4 && types.every(({ synced }) => synced)
    })

  it('configures an Envoy, also by types that we do not know, and receives its access log', async () => {
    const lua = await get()
    expect([lua.status, lua.body.toString(), lua.headers['x-lua']]).toEqual([200, 'one', 'on'])
    expect((await get('/plain')).headers['x-lua']).toBeUndefined()
    await settled()
    expect(nacks).toEqual([])
    const [client] = server.status()
    expect(client).toMatchObject({
      nodeId: 'envoy-1',
      nodeCluster: 'test',
      userAgent: expect.stringMatching(/^envoy 1\.\d+/),
    })
    expect(client!.types.map(({ typeUrl, wanted }) => [typeUrl, wanted])).toEqual([
      [TypeUrl.CLUSTER, '*'],
      [TypeUrl.ENDPOINTS, 1],
      [TypeUrl.LISTENER, '*'],
      [TypeUrl.ROUTE, 1],
    ])
    await waitFor('the access log', () => entries.length === 2)
    const told = { pool: 't-1', endpoint: 'e-1', upstream: `127.0.0.1:${one.port}` }
    expect(entries[0]).toEqual({ ...told, durationMs: expect.any(Number) })
  })

  it('moves endpoints, clusters and routes under load without a failed request', async () => {
    const load = { running: true }
    const seen = new Map<string, number>()
    const listenerPort = await envoy.admin.listenerPort('front')
    const done = (async () => {
      while (load.running) {
        const { status, body } = await sendHttp1({ port: listenerPort })
        const key = `${status} ${body.toString()}`
        seen.set(key, (seen.get(key) ?? 0) + 1)
      }
    })()
    const steps: Config[] = [
      { clusters: { a: two.port }, route: 'a' },
      // The old cluster goes in the same step.
      { clusters: { b: one.port }, route: 'b' },
      { clusters: { a: two.port }, route: 'a' },
      // The cluster itself changes and has to warm.
      { clusters: { a: one.port }, route: 'a', connectTimeout: '2s' },
      { clusters: { a: one.port, c: two.port }, route: 'c', connectTimeout: '3s' },
    ]
    try {
      for (const step of steps) {
        cache.set(resources(step))
        await settled()
      }
    } finally {
      load.running = false
      await done
    }
    expect(await answers()).toBe('two')
    expect([...seen.keys()].sort()).toEqual(['200 one', '200 two'])
    expect(nacks).toEqual([])
    const clusters = await envoy.admin.get('/clusters')
    expect(clusters).not.toMatch(/^b::/m)
  })

  it('keeps a refusal, does not repeat what was refused, and goes on after a correction', async () => {
    await settled()
    const good = resources({ clusters: { a: one.port }, route: 'a' })
    const bad: JsonObject = { name: 'bad', address: { pipe: { path: '/nowhere/at/all.sock' } }, filterChains: [{}] }
    cache.set({ ...good, listeners: [...good.listeners, bad] })
    await waitFor('the refusal', () => nacks.length > 0)
    expect(nacks[0]).toMatchObject({
      nodeId: 'envoy-1',
      typeUrl: TypeUrl.LISTENER,
      message: expect.stringContaining('bad'),
    })
    const listeners = () => server.status()[0]?.types.find(({ typeUrl }) => typeUrl === TypeUrl.LISTENER)
    expect(listeners()?.refusal?.message).toBe(nacks[0]!.message)
    // Another change goes through meanwhile, and brings no second refusal.
    cache.set({ ...good, listeners: [...good.listeners, bad], endpoints: [endpoints('a', two.port)] })
    await waitFor('the new endpoint', async () => (await answers()) === 'two')
    expect(nacks).toHaveLength(1)
    cache.set(good)
    await settled()
    expect(listeners()?.refusal).toBeUndefined()
  })

  it('survives a restart of the server, also with another configuration', async () => {
    await settled()
    await server.close()
    expect(await answers()).toBe('one')
    await serve()
    await settled()
    expect(await answers()).toBe('one')
    const warmed = await envoy.admin.stats('^cluster_manager.cluster_modified$')
    expect(warmed).toEqual({ 'cluster_manager.cluster_modified': 0 })

    await server.close()
    cache = new SnapshotCache()
    cache.set(resources({ clusters: { d: two.port }, route: 'd' }))
    await serve()
    await settled()
    expect(await answers()).toBe('two')
    expect(nacks).toEqual([])
  })

  it('configures an Envoy that was killed and started again', async () => {
    await settled()
    await envoy.kill()
    await waitFor('the old stream to end', () => server.status().length === 0)
    envoy = await startEnvoy({ binary, bootstrap: bootstrap(port), concurrency: 1 })
    await envoy.ready()
    expect(await answers()).toBe('one')
  })
})
