/**
 * A real Envoy three times over: with ours, by the configuration that we compile for our own fleet (look, model routing, a picked
 * endpoint); with refserver, by a static one in full duplex, as the Go peers are attached; with a prepared answer to every look, the
 * floor of all servers on Node; and without ext_proc.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { compileBootstrap } from '../../src/compile/bootstrap.ts'
import { freePort } from '../support/free-ports.ts'
import { documents, GATEWAY, poolYaml, routeYaml } from '../support/pool-config.ts'
import { ServeProcess } from '../support/serve-process.ts'
import { makeTempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'
import { firstLine, start } from './child-programs.ts'
import { startContender } from './contenders.ts'
import type { Yardsticks } from './yardsticks.ts'

/** One port of an Envoy with what stands behind it. */
export interface Setup {
  readonly contender: 'ours' | 'refserver' | 'floor' | 'no ext_proc'
  readonly port: number
  readonly envoyPid: number
  /** 0: no ext_proc. */
  readonly serverPid: number
}

export interface Setups {
  readonly ours: Setup
  readonly refserver: Setup
  readonly floor: Setup
  readonly none: Setup
  stop(): Promise<void>
}

export async function startSetups(
  binary: string,
  endpoints: readonly string[],
  yardsticks: Yardsticks,
): Promise<Setups> {
  const folder = await makeTempFolder()
  const stops: (() => Promise<unknown>)[] = [() => folder.remove()]
  const stop = async (): Promise<void> => {
    for (const each of stops.toReversed()) await each()
  }
  try {
    const [gatewayPort, plainPort, refPort, floorPort] = await freePorts(4)
    const config = documents(
      GATEWAY.replace('@PORT@', String(gatewayPort)),
      poolYaml({ addresses: endpoints }),
      routeYaml({ models: { other: 'pool', m: 'pool' } }),
    )
    await writeFile(join(folder.path, 'config.yaml'), config)
    const args = ['--config', join(folder.path, 'config.yaml'), '--drain', '1', '--log-level', 'info']
    args.push('--ext-proc', '127.0.0.1:0', '--xds', '127.0.0.1:0')
    const serve = await ServeProcess.start(args, folder.path)
    stops.push(() => serve.end('SIGTERM'))
    const xds = String(serve.log().find(({ msg }) => msg === 'Signalbox serves')!['xds'])
    const fleet = await startEnvoyWith(binary, fleetBootstrap(xds, plainPort!, endpoints))
    stops.push(() => fleet.stop())
    const reference = (await startContender('refserver', { endpoints, yardsticks }))!
    stops.push(() => reference.stop())
    const refEnvoy = await startEnvoyWith(binary, {
      staticResources: staticResources(refPort!, endpoints, { address: reference.address('fds'), filter: FULL_DUPLEX }),
    })
    stops.push(() => refEnvoy.stop())
    const least = start(process.execPath, [join(import.meta.dirname, 'floor-server.ts')])
    stops.push(() => least.stop())
    const { port: leastPort } = JSON.parse(await firstLine(least)) as { readonly port: number }
    const floorEnvoy = await startEnvoyWith(binary, {
      staticResources: staticResources(floorPort!, endpoints, { address: `127.0.0.1:${leastPort}`, filter: LOOK }),
    })
    stops.push(() => floorEnvoy.stop())
    for (const port of [gatewayPort!, plainPort!, refPort!, floorPort!]) await answers(port)
    return {
      ours: { contender: 'ours', port: gatewayPort!, envoyPid: fleet.pid, serverPid: serve.pid },
      none: { contender: 'no ext_proc', port: plainPort!, envoyPid: fleet.pid, serverPid: 0 },
      refserver: { contender: 'refserver', port: refPort!, envoyPid: refEnvoy.pid, serverPid: reference.pid },
      floor: { contender: 'floor', port: floorPort!, envoyPid: floorEnvoy.pid, serverPid: least.pid },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) ports.push(await freePort())
  return ports
}

async function answers(port: number): Promise<void> {
  await waitFor(`Envoy on port ${port}`, async () => {
    const response = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"model":"m","messages":[]}',
    })
    await response.arrayBuffer()
    return response.status === 200
  })
  await delay(100)
}

async function startEnvoyWith(binary: string, bootstrap: JsonObject): Promise<EnvoyProcess> {
  const envoy = await startEnvoy({ binary, bootstrap, concurrency: 2 })
  await envoy.ready()
  return envoy
}

/** An Envoy of our fleet, with one listener more that has no ext_proc. */
function fleetBootstrap(xds: string, plainPort: number, endpoints: readonly string[]): JsonObject {
  const bootstrap = JSON.parse(
    JSON.stringify(compileBootstrap({ nodeId: 'bench', cluster: 'bench', xds: { addresses: [xds] } })),
  ) as { staticResources: { clusters: JsonObject[] } & JsonObject } & JsonObject
  const plain = staticResources(plainPort, endpoints, undefined)
  bootstrap.staticResources.clusters.push(...plain.clusters)
  return { ...bootstrap, staticResources: { ...bootstrap.staticResources, listeners: plain.listeners } }
}

/** In both directions, as Go's peers are attached. */
const FULL_DUPLEX: JsonObject = {
  processingMode: {
    requestBodyMode: 'FULL_DUPLEX_STREAMED',
    requestTrailerMode: 'SEND',
    responseHeaderMode: 'SEND',
    responseBodyMode: 'FULL_DUPLEX_STREAMED',
    responseTrailerMode: 'SEND',
  },
}

/** As our fleet's routes look. */
const LOOK: JsonObject = {
  processingMode: { requestBodyMode: 'STREAMED', responseHeaderMode: 'SKIP' },
  sendBodyWithoutWaitingForHeaderResponse: true,
  allowContentLengthHeader: true,
}

interface Attached {
  readonly address: string
  readonly filter: JsonObject
}

/** A listener that balances over the endpoints by itself, with an external processor or without. */
function staticResources(port: number, endpoints: readonly string[], extProc: Attached | undefined) {
  const filters: JsonObject[] = []
  if (extProc !== undefined) {
    filters.push({
      name: 'envoy.filters.http.ext_proc',
      typedConfig: {
        '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor',
        grpcService: { envoyGrpc: { clusterName: 'ext_proc' } },
        messageTimeout: '10s',
        ...extProc.filter,
      },
    })
  }
  filters.push({
    name: 'envoy.filters.http.router',
    typedConfig: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
  })
  const manager = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    statPrefix: 'plain',
    routeConfig: {
      virtualHosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'plain' } }] },
      ],
    },
    httpFilters: filters,
  }
  const listener = {
    name: 'plain',
    address: socketAddress(`127.0.0.1:${port}`),
    filterChains: [{ filters: [{ name: 'http', typedConfig: manager }] }],
  }
  return {
    listeners: [listener],
    clusters: [
      staticCluster('plain', endpoints, false),
      ...(extProc === undefined ? [] : [staticCluster('ext_proc', [extProc.address], true)]),
    ],
  }
}

function staticCluster(name: string, addresses: readonly string[], http2: boolean): JsonObject {
  const lbEndpoints = addresses.map(address => ({ endpoint: { address: socketAddress(address) } }))
  const cluster = {
    name,
    type: 'STATIC',
    connectTimeout: '1s',
    circuitBreakers: { thresholds: [{ maxConnections: 10_000, maxPendingRequests: 10_000, maxRequests: 10_000 }] },
    loadAssignment: { clusterName: name, endpoints: [{ lbEndpoints }] },
  }
  if (!http2) return cluster
  return {
    ...cluster,
    typedExtensionProtocolOptions: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicitHttpConfig: { http2ProtocolOptions: {} },
      },
    },
  }
}

function socketAddress(address: string): JsonObject {
  const colon = address.lastIndexOf(':')
  return { socketAddress: { address: address.slice(0, colon), portValue: Number(address.slice(colon + 1)) } }
}
