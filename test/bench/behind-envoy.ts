/**
 * The same servers behind a real Envoy: ours with the configuration that it compiles for its own fleet (look, model routing, a
 * picked endpoint), refserver with a static one in full duplex, as the Go peers are attached; and no ext_proc at all.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { JsonObject } from '@bufbuild/protobuf'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { compileBootstrap } from '../../src/compile/bootstrap.ts'
import { freePort } from '../support/free-ports.ts'
import { documents, GATEWAY, poolYaml, routeYaml } from '../support/pool-config.ts'
import { ServeProcess } from '../support/serve-process.ts'
import { makeTempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { output } from './child-programs.ts'
import { startContender } from './contenders.ts'
import { processCpuMicros } from './process-cpu.ts'
import { median, medianRatio } from './statistics.ts'
import type { Yardsticks } from './yardsticks.ts'

export interface EnvoyOptions {
  readonly binary: string
  readonly rounds: number
  readonly seconds: number
  readonly endpoints: readonly string[]
  readonly yardsticks: Yardsticks
  readonly progress: (text: string) => void
}

export interface EnvoyResult {
  /** µs of CPU per request. */
  readonly costs: readonly {
    readonly title: string
    readonly contender: string
    readonly envoy: number
    readonly server: number
  }[]
  /** p50 and p99 with ours over those without ext_proc, requests alternating on one connection each. */
  readonly latencies: readonly { readonly title: string; readonly p50: number; readonly p99: number }[]
  /** µs of server CPU that a chunk of a streamed response adds: nothing, where no rule reads the response. */
  readonly chunkCost: number
  readonly errors: readonly string[]
}

/** One port of an Envoy with what stands behind it. */
interface Setup {
  readonly contender: string
  readonly port: number
  readonly envoyPid: number
  /** 0: no ext_proc. */
  readonly serverPid: number
}

const SSE_CHUNKS = 200
const IDLE_MS = 3000

export async function runBehindEnvoy(options: EnvoyOptions): Promise<EnvoyResult> {
  const folder = await makeTempFolder()
  const stops: (() => Promise<unknown>)[] = [() => folder.remove()]
  const errors: string[] = []
  try {
    const [gatewayPort, plainPort, refPort, extProcPort, xdsPort] = await freePorts(5)
    const config = documents(
      GATEWAY.replace('@PORT@', String(gatewayPort)),
      poolYaml({ addresses: options.endpoints }),
      routeYaml({ models: { other: 'pool', m: 'pool' } }),
    )
    await writeFile(join(folder.path, 'config.yaml'), config)
    const args = ['--config', join(folder.path, 'config.yaml'), '--drain', '1', '--log-level', 'info']
    args.push('--ext-proc', `127.0.0.1:${extProcPort}`, '--xds', `127.0.0.1:${xdsPort}`)
    const serve = await ServeProcess.start(args, folder.path)
    stops.push(() => serve.end('SIGTERM'))
    const fleet = await startEnvoyWith(options.binary, fleetBootstrap(xdsPort!, plainPort!, options.endpoints))
    stops.push(() => fleet.stop())
    const reference = (await startContender('refserver', options.endpoints, options.yardsticks))!
    stops.push(() => reference.stop())
    const refEnvoy = await startEnvoyWith(options.binary, {
      staticResources: staticResources(refPort!, options.endpoints, reference.address),
    })
    stops.push(() => refEnvoy.stop())
    for (const port of [gatewayPort!, plainPort!, refPort!]) await answers(port)
    const ours: Setup = { contender: 'ours', port: gatewayPort!, envoyPid: fleet.pid, serverPid: serve.pid }
    const none: Setup = { contender: 'no ext_proc', port: plainPort!, envoyPid: fleet.pid, serverPid: 0 }
    const ref: Setup = { contender: 'refserver', port: refPort!, envoyPid: refEnvoy.pid, serverPid: reference.pid }
    return {
      costs: await costs([ours, ref, none], options, errors),
      latencies: await latencies(ours, none, options, errors),
      chunkCost: await chunkCost(ours, options, errors),
      errors,
    }
  } finally {
    for (const stop of stops.toReversed()) await stop()
  }
}

async function costs(setups: readonly Setup[], options: EnvoyOptions, errors: string[]): Promise<EnvoyResult['costs']> {
  const list: { title: string; contender: string; envoy: number; server: number }[] = []
  for (const [title, load] of [
    ['300 B', ['-body', '300', '-c', '32']],
    ['220 KB', ['-body', '220000', '-c', '8']],
  ] as const) {
    const samples = setups.map(setup => ({ setup, envoy: [] as number[], server: [] as number[] }))
    for (let round = 0; round <= options.rounds; round++) {
      for (const { setup, envoy, server } of samples) {
        options.progress(`behind Envoy, round ${round} of ${options.rounds}: ${title}, ${setup.contender}`)
        const report = await httpLoad(options, setup, [...load, '-d', `${options.seconds}s`], errors)
        if (round === 0) continue
        envoy.push(report.envoy)
        server.push(report.server)
      }
    }
    for (const { setup, envoy, server } of samples)
      list.push({ title, contender: setup.contender, envoy: median(envoy), server: median(server) })
  }
  return list
}

async function latencies(ours: Setup, none: Setup, options: EnvoyOptions, errors: string[]) {
  const list: { title: string; p50: number; p99: number }[] = []
  for (const [title, bytes] of [
    ['1 KB', '1000'],
    ['1 MB', '1000000'],
  ] as const) {
    const withUs: Percentiles[] = []
    const without: Percentiles[] = []
    for (let round = 1; round <= options.rounds; round++) {
      options.progress(`latency, round ${round} of ${options.rounds}: ${title}`)
      const load = [
        '-b',
        `127.0.0.1:${none.port}`,
        '-body',
        bytes,
        '-c',
        '1',
        '-d',
        `${options.seconds}s`,
        '-warm',
        '50',
      ]
      const report = await httpLoad(options, ours, load, errors)
      withUs.push(report.latencies[0]!)
      without.push(report.latencies[1]!)
    }
    const ratio = (part: keyof Percentiles) =>
      medianRatio(
        withUs.map(p => p[part]),
        without.map(p => p[part]),
      )
    list.push({ title, p50: ratio('p50'), p99: ratio('p99') })
  }
  return list
}

async function chunkCost(ours: Setup, options: EnvoyOptions, errors: string[]): Promise<number> {
  // Fewer requests a second bear more of what the server does anyway (scraping), so that is taken off first.
  options.progress('idle')
  const before = await processCpuMicros(ours.serverPid)
  await delay(IDLE_MS)
  const idleMicrosPerSecond = ((await processCpuMicros(ours.serverPid)) - before) / (IDLE_MS / 1000)
  const net = ({ server, seconds, requests }: HttpReport) => server - (idleMicrosPerSecond * seconds) / requests
  const figures: number[] = []
  for (let round = 1; round <= options.rounds; round++) {
    options.progress(`streamed responses, round ${round} of ${options.rounds}`)
    const load = ['-body', '300', '-stream', '-c', '4', '-d', `${options.seconds}s`]
    const streamed = await httpLoad(options, ours, [...load, '-H', `x-fake-chunks: ${SSE_CHUNKS}`], errors)
    const single = await httpLoad(options, ours, [...load, '-H', 'x-fake-chunks: 1'], errors)
    figures.push((net(streamed) - net(single)) / (SSE_CHUNKS - 1))
  }
  return median(figures)
}

interface Percentiles {
  readonly p50: number
  readonly p99: number
}

interface HttpReport {
  readonly envoy: number
  readonly server: number
  readonly seconds: number
  readonly requests: number
  readonly latencies: readonly Percentiles[]
}

async function httpLoad(
  { yardsticks }: EnvoyOptions,
  { contender, port, envoyPid, serverPid }: Setup,
  load: readonly string[],
  errors: string[],
): Promise<HttpReport> {
  const pids = [`envoy=${envoyPid}`, ...(serverPid > 0 ? [`server=${serverPid}`] : [])].join(',')
  const text = await output(yardsticks.httpload, ['-a', `127.0.0.1:${port}`, '-pids', pids, ...load])
  const cpu = (name: string) => Number(new RegExp(`\\| ${name} (-?[\\d.]+) us/req`).exec(text)?.[1] ?? 0)
  for (const line of text.split('\n'))
    if (line.includes('errors')) errors.push(`behind Envoy, ${contender}: ${line.trim()}`)
  return {
    envoy: cpu('envoy'),
    server: cpu('server'),
    seconds: Number(/ n=\d+ ([\d.]+)s /.exec(text)?.[1] ?? Number.NaN),
    requests: Number(/ n=(\d+) /.exec(text)?.[1] ?? Number.NaN),
    latencies: Array.from(text.matchAll(/total p50=(\d+)us p99=(\d+)us/g), ([, p50, p99]) => ({
      p50: Number(p50),
      p99: Number(p99),
    })),
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
function fleetBootstrap(xdsPort: number, plainPort: number, endpoints: readonly string[]): JsonObject {
  const bootstrap = JSON.parse(
    JSON.stringify(
      compileBootstrap({ nodeId: 'bench', cluster: 'bench', xds: { addresses: [`127.0.0.1:${xdsPort}`] } }),
    ),
  ) as { staticResources: { clusters: JsonObject[] } & JsonObject } & JsonObject
  const plain = staticResources(plainPort, endpoints, undefined)
  bootstrap.staticResources.clusters.push(...plain.clusters)
  return { ...bootstrap, staticResources: { ...bootstrap.staticResources, listeners: plain.listeners } }
}

/** A listener that balances over the endpoints by itself; with `extProc`, full duplex in both directions through it. */
function staticResources(port: number, endpoints: readonly string[], extProc: string | undefined) {
  const filters: JsonObject[] = []
  if (extProc !== undefined) {
    filters.push({
      name: 'envoy.filters.http.ext_proc',
      typedConfig: {
        '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor',
        grpcService: { envoyGrpc: { clusterName: 'ext_proc' } },
        processingMode: {
          requestBodyMode: 'FULL_DUPLEX_STREAMED',
          requestTrailerMode: 'SEND',
          responseHeaderMode: 'SEND',
          responseBodyMode: 'FULL_DUPLEX_STREAMED',
          responseTrailerMode: 'SEND',
        },
        messageTimeout: '10s',
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
      ...(extProc === undefined ? [] : [staticCluster('ext_proc', [extProc], true)]),
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
