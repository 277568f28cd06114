/** Requests through a real Envoy (`envoy-setups.ts`): what they cost it and the server, and what they wait. */
import { setTimeout as delay } from 'node:timers/promises'
import { output } from './child-programs.ts'
import { type Setup, type Setups, startSetups } from './envoy-setups.ts'
import { processCpuMicros } from './process-cpu.ts'
import type { Selection } from './rows.ts'
import { median, medianRatio } from './statistics.ts'
import type { Yardsticks } from './yardsticks.ts'

export interface EnvoyOptions {
  readonly binary: string
  readonly rounds: number
  readonly seconds: number
  readonly endpoints: readonly string[]
  readonly yardsticks: Yardsticks
  readonly selection: Selection
  readonly progress: (text: string) => void
}

/** µs of CPU per request. */
export interface EnvoyCost {
  readonly title: string
  readonly contender: string
  readonly envoy: number
  readonly server: number
}

export interface Percentiles {
  readonly p50: number
  readonly p99: number
}

/** Requests alternating on two connections, with ours and without ext_proc; µs, medians of the rounds. */
export interface Latency {
  readonly title: string
  readonly withOurs: Percentiles
  readonly without: Percentiles
  /** Medians of the rounds' ratios. */
  readonly ratio: Percentiles
  /** p50 with the least that a server on Node can do in the place of ours (`floor-server.ts`), to that without ext_proc beside it. */
  readonly floor: number
  /** p50, where issue 4 asks for one. */
  readonly limit: number | undefined
}

export interface EnvoyResult {
  readonly costs: readonly EnvoyCost[]
  readonly latencies: readonly Latency[]
  /** µs of server CPU that a chunk of a streamed response adds: nothing, where no rule reads the response. */
  readonly chunkCost: number
  readonly errors: readonly string[]
}

const SSE_CHUNKS = 200
const IDLE_MS = 3000
/** Before latencies are measured: 3,000 small requests (two threads' code is compiled by then), 300 of 1 MB. */
const WARM_BYTES = 300_000_000

const COSTS: readonly { readonly title: string; readonly load: readonly string[]; readonly all?: true }[] = [
  { title: '300 B', load: ['-body', '300', '-c', '32'] },
  { title: '4 KB', load: ['-body', '4000', '-c', '32'], all: true },
  { title: '64 KB', load: ['-body', '64000', '-c', '16'], all: true },
  { title: '220 KB', load: ['-body', '220000', '-c', '8'] },
  { title: '220 KB, model last', load: ['-body', '220000', '-c', '8', '-model-last'], all: true },
  { title: '1 MB', load: ['-body', '1000000', '-c', '4'], all: true },
  { title: '4 MB', load: ['-body', '4000000', '-c', '2'], all: true },
]

const LATENCIES: readonly { readonly title: string; readonly bytes: number; readonly limit?: number }[] = [
  { title: '1 KB', bytes: 1000, limit: 1.8 },
  { title: '100 KB', bytes: 100_000 },
  { title: '1 MB', bytes: 1_000_000, limit: 1.1 },
  { title: '10 MB', bytes: 10_000_000, limit: 1.1 },
]

export async function runBehindEnvoy(options: EnvoyOptions): Promise<EnvoyResult> {
  const errors: string[] = []
  const setups = await startSetups(options.binary, options.endpoints, options.yardsticks)
  try {
    return {
      costs: await costs(setups, options, errors),
      latencies: await latencies(setups, options, errors),
      chunkCost: await chunkCost(setups.ours, options, errors),
      errors,
    }
  } finally {
    await setups.stop()
  }
}

async function costs({ ours, refserver, none }: Setups, options: EnvoyOptions, errors: string[]): Promise<EnvoyCost[]> {
  const list: EnvoyCost[] = []
  for (const { title, load } of COSTS.filter(({ all }) => all !== true || options.selection === 'all')) {
    const samples = [ours, refserver, none].map(setup => ({ setup, envoy: [] as number[], server: [] as number[] }))
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

async function latencies({ ours, none, floor }: Setups, options: EnvoyOptions, errors: string[]): Promise<Latency[]> {
  const list: Latency[] = []
  for (const { title, bytes, limit } of LATENCIES) {
    const withOurs: Percentiles[] = []
    const without: Percentiles[] = []
    const floors: number[] = []
    for (let round = 1; round <= options.rounds; round++) {
      options.progress(`latency, round ${round} of ${options.rounds}: ${title}`)
      const load = ['-b', `127.0.0.1:${none.port}`, '-body', String(bytes), '-c', '1', '-d', `${options.seconds}s`]
      load.push('-warm', String(WARM_BYTES / Math.max(bytes, WARM_BYTES / 3000)))
      const report = await httpLoad(options, ours, load, errors)
      withOurs.push(report.latencies[0]!)
      without.push(report.latencies[1]!)
      const [least, bare] = (await httpLoad(options, floor, load, errors)).latencies
      floors.push(least!.p50 / bare!.p50)
    }
    const all = (part: keyof Percentiles) => [withOurs.map(p => p[part]), without.map(p => p[part])] as const
    list.push({
      title,
      withOurs: { p50: median(all('p50')[0]), p99: median(all('p99')[0]) },
      without: { p50: median(all('p50')[1]), p99: median(all('p99')[1]) },
      ratio: { p50: medianRatio(...all('p50')), p99: medianRatio(...all('p99')) },
      floor: median(floors),
      limit,
    })
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
