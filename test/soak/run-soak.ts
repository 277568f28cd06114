import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EnvoyBinary } from '../../src/cli/envoy/resolve-envoy.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { ProcessRig } from '../support/process-rig.ts'
import { waitFor } from '../support/wait-for.ts'
import { post } from './post.ts'
import { startStreamingBackend } from './streaming-backend.ts'

export interface SoakOptions {
  readonly envoy: EnvoyBinary
  /** Streams at a time, how long each takes, and how many follow each other. The first round is warming up. */
  readonly streams: number
  readonly streamSeconds: number
  readonly rounds: number
  /** Short requests after that. */
  readonly requests: number
  readonly log?: (line: string) => void
}

export interface SoakReport {
  /** Resident memory of `signalbox serve` when the first round was over, and the most it had after that, bytes. */
  readonly warmBytes: number
  readonly peakBytes: number
  /** The same after the short requests. */
  readonly endBytes: number
  readonly streamsCompleted: number
  readonly requestsAnswered: number
  /** Everything that was not a whole 200: what it was instead → how often. */
  readonly failures: Readonly<Record<string, number>>
  readonly requestsPerSecond: number
  /** What is left a moment after the last request: sums over all endpoints. */
  readonly inFlight: number
  readonly openExchanges: number
  readonly openStreams: number
  readonly heldBytes: number
}

const PARALLEL = 48

/** Long streams and many short requests through a real Envoy, with `signalbox serve` as a process of its own. */
export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const log = options.log ?? (() => {})
  const backends = await Promise.all(Array.from({ length: 4 }, startStreamingBackend))
  const rig = await ProcessRig.start({
    envoy: options.envoy,
    config: documents(
      GATEWAY,
      poolYaml({ addresses: backends.map(({ address }) => address) }),
      routeYaml({ models: { '': 'pool' } }),
      parametersYaml(),
    ),
    args: ['--log-level', 'info'],
  })
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
  const failures: Record<string, number> = {}
  const fails = (what: string) => (failures[what] = (failures[what] ?? 0) + 1)
  const send = (i: number, events: number) => post(agent, rig.port, i, events)
  const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`

  try {
    let streamsCompleted = 0
    let warmBytes = 0
    let peakBytes = 0
    const events = options.streamSeconds * 5
    for (let round = 0; round < options.rounds; round++) {
      const open = Array.from({ length: options.streams }, async (_, i) => {
        const answer = await send(round * options.streams + i, events)
        if (answer === `200 ${events + 1}`) streamsCompleted++
        else fails(`stream: ${answer}`)
      })
      const over = Promise.all(open).then(() => 'over')
      while ((await Promise.race([over, sleep(1000)])) !== 'over') {
        if (round > 0) peakBytes = Math.max(peakBytes, await rig.serve.residentBytes())
      }
      const bytes = await rig.serve.residentBytes()
      if (round === 0) warmBytes = bytes
      peakBytes = Math.max(peakBytes, bytes)
      log(`round ${round + 1} of ${options.rounds}: ${streamsCompleted} streams, resident ${mib(bytes)}`)
    }

    let next = 0
    let requestsAnswered = 0
    const start = performance.now()
    const worker = async () => {
      while (next < options.requests) {
        const answer = await send(next++, 0)
        if (answer === '200 0') requestsAnswered++
        else fails(answer)
        if (requestsAnswered % 20_000 === 0) {
          log(`${requestsAnswered} requests, resident ${mib(await rig.serve.residentBytes())}`)
        }
      }
    }
    await Promise.all(Array.from({ length: PARALLEL }, worker))
    const requestsPerSecond = Math.round(requestsAnswered / ((performance.now() - start) / 1000))

    const left = async () => {
      const metrics = await rig.serve.metrics()
      const sum = (name: string) => {
        const samples = [...metrics].filter(([sample]) => sample.startsWith(`signalbox_${name}`))
        if (samples.length === 0) throw new Error(`there is no metric signalbox_${name}`)
        return samples.reduce((total, [, value]) => total + value, 0)
      }
      return {
        inFlight: sum('endpoint_in_flight'),
        openExchanges: sum('ext_proc_open_exchanges'),
        openStreams: sum('ext_proc_open_streams'),
        heldBytes: sum('ext_proc_held_bytes'),
      }
    }
    // The access log that ends in-flight counts comes in batches. What does not come to zero is for the report to say.
    await waitFor('nothing to be left', async () => Object.values(await left()).every(value => value === 0)).catch(
      () => {},
    )
    return {
      warmBytes,
      peakBytes,
      endBytes: await rig.serve.residentBytes(),
      streamsCompleted,
      requestsAnswered,
      failures,
      requestsPerSecond,
      ...(await left()),
    }
  } finally {
    agent.destroy()
    await rig.stop()
    await Promise.all(backends.map(backend => backend.close()))
  }
}
