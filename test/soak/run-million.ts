import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { EnvoyBinary } from '../../src/cli/envoy/resolve-envoy.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

export interface MillionOptions {
  readonly envoy: EnvoyBinary
  readonly requests: number
  /** Requests of the second part, in which workers are killed. */
  readonly killedRequests: number
  /** Workers that are killed then. */
  readonly kills: number
  /** Seconds after which every connection is drained and replaced. */
  readonly connectionAge: number
  readonly log?: (line: string) => void
}

interface LoadReport {
  readonly answered: number
  readonly failures: Readonly<Record<string, number>>
}

/** What is said of endpoints, which this test runs beside everything else, on a machine that has no time for them. */
const ABOUT_ENDPOINTS = ['metrics of the endpoint are incomplete', 'endpoint cannot be scraped']

export interface MillionReport {
  /** With connections that are drained all the time: nothing may fail. */
  readonly drained: LoadReport
  /** With workers that are killed: only what was under way on them may. */
  readonly killed: LoadReport
  readonly kills: number
  readonly restarts: number
  readonly inFlight: number
  readonly openExchanges: number
  readonly heldBytes: number
  /** Connections that we broke off (GOAWAY with an error) or that broke otherwise, and whatever else was logged as a warning while nobody was killed. */
  readonly warnings: readonly string[]
  /** Streams of our ext_proc service that its counters saw. */
  readonly streams: number
  /** Resident memory of all threads after a tenth of the first part, and at its end. Of short runs it says nothing, and is not looked at. */
  readonly warmBytes: number
  readonly endBytes: number
}

export const PARALLEL = 48
/** Heaps breathe: of several threads together by more than this is a leak. */
const MAX_GROWTH_BYTES = 96 * 1024 * 1024
const LONG_RUN_REQUESTS = 100_000
/** Envoys learn of a dead worker at once, but not before it is dead: requests that come in that moment fail like those under way. */
const FAILURES_PER_KILL = 3 * PARALLEL

/** Many exchanges through a real Envoy with two workers on each side, while connections are drained and, later, workers are killed. */
export async function runMillion(options: MillionOptions): Promise<MillionReport> {
  const log = options.log ?? (() => {})
  const backends = child('backends-child.ts')
  const addresses = JSON.parse(await firstLine(backends)) as string[]
  const rig = await Rig.start({
    plane: options.envoy,
    config: documents(GATEWAY, poolYaml({ addresses }), routeYaml({ models: { '': 'pool' } }), parametersYaml()),
    args: ['--threads', '2', '--max-connection-age', String(options.connectionAge)],
    concurrency: 2,
  })
  try {
    await rig.decides('/v1/chat/completions')
    const first = load(rig.port, options.requests, log)
    await waitFor('a tenth of the answers', () => first.answered() >= options.requests / 10, { timeoutMs: 600_000 })
    const warmBytes = process.memoryUsage.rss()
    const drained = await first.done
    const endBytes = process.memoryUsage.rss()
    // The replicas here tell no more than they need to.
    const warnings = rig.warnings.filter(line => !ABOUT_ENDPOINTS.some(text => line.includes(text)))
    const { threads } = rig.signalbox!.threads
    const second = load(rig.port, options.killedRequests, log)
    for (let i = 0; i < options.kills; i++) {
      await waitFor(
        'its share of the answers',
        () => second.answered() >= (options.killedRequests * (i + 1)) / (options.kills + 1),
        {
          timeoutMs: 600_000,
        },
      )
      const victim = threads[i % threads.length]!
      const { restarts } = victim
      victim.kill()
      log(`killed thread ${victim.column}`)
      await waitFor('its successor', () => victim.restarts > restarts && victim.state === 'up', { timeoutMs: 60_000 })
    }
    const killed = await second.done
    const left = async () => {
      const metrics = await rig.metrics()
      const sum = (name: string) =>
        [...metrics].reduce((total, [sample, value]) => total + (sample.startsWith(`signalbox_${name}`) ? value : 0), 0)
      return {
        inFlight: sum('endpoint_in_flight'),
        openExchanges: sum('ext_proc_open_exchanges'),
        heldBytes: sum('ext_proc_held_bytes'),
      }
    }
    await waitFor('nothing to be left', async () => Object.values(await left()).every(value => value === 0), {
      timeoutMs: 20_000,
    }).catch(() => {})
    const restarts = threads.reduce((sum, thread) => sum + thread.restarts, 0)
    const streams = (await rig.metrics()).get('signalbox_ext_proc_streams_total') ?? 0
    return {
      drained,
      killed,
      kills: options.kills,
      restarts,
      streams,
      warnings,
      warmBytes,
      endBytes,
      ...(await left()),
    }
  } finally {
    await rig.stop()
    backends.stdin!.end()
  }
}

/** What was not as it must be; empty = all well. */
export function brokenMillion(report: MillionReport): string[] {
  const failed = Object.values(report.killed.failures).reduce((sum, count) => sum + count, 0)
  const left = (['inFlight', 'openExchanges', 'heldBytes'] as const).filter(name => report[name] !== 0)
  return [
    ...Object.entries(report.drained.failures).map(
      ([what, count]) => `${count} × ${what} while connections were drained`,
    ),
    ...report.warnings.map(line => `logged: ${line.trim()}`),
    ...(failed <= report.kills * FAILURES_PER_KILL ? [] : [`${failed} failures for ${report.kills} killed workers`]),
    ...(report.restarts === report.kills ? [] : [`${report.restarts} restarts for ${report.kills} killed workers`]),
    ...left.map(name => `${name} is ${report[name]} at the end`),
    ...(report.drained.answered < LONG_RUN_REQUESTS || report.endBytes - report.warmBytes <= MAX_GROWTH_BYTES
      ? []
      : [`memory grew from ${report.warmBytes} to ${report.endBytes} bytes`]),
  ]
}

function load(port: number, requests: number, log: (line: string) => void) {
  const process = child('load-child.ts', String(port), String(requests), String(PARALLEL))
  let last: LoadReport = { answered: 0, failures: {} }
  createInterface({ input: process.stdout! }).on('line', line => {
    last = JSON.parse(line) as LoadReport
    log(line)
  })
  return { answered: () => last.answered, done: once(process, 'close').then(() => last) }
}

function child(file: string, ...args: readonly string[]): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url))
  return spawn(process.execPath, [path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
}

async function firstLine(process: ChildProcess): Promise<string> {
  const [line] = (await once(createInterface({ input: process.stdout! }), 'line')) as [string]
  return line
}
