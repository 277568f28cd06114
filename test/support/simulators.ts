import { request as httpRequest } from 'node:http'
import { startSimulator, type Simulator } from '../../src/sim/simulator.ts'
import type { SimulatorOptions } from '../../src/sim/options.ts'
import type { Rig } from './rig.ts'
import { waitFor } from './wait-for.ts'

/** Starts one fast simulator a name, all with the same options. */
export function startSimulators(names: readonly string[], options: SimulatorOptions = {}): Promise<Simulator[]> {
  const fast: SimulatorOptions = { port: 0, prefillBaseMs: 1, prefillMsPerToken: 0.001, decodeMs: 1, loraLoadMs: 5 }
  return Promise.all(names.map(name => startSimulator({ ...fast, ...options, name })))
}

export function addressOf(simulator: Simulator): string {
  return `${simulator.host}:${simulator.port}`
}

/** An endpoint as `/pools` of the admin port shows it. */
export interface EndpointView {
  readonly address: string
  readonly state: 'ready' | 'unreachable'
  readonly scrapedAt: number
  readonly waiting: number
  readonly running: number
  readonly inFlight: number
  readonly models: readonly { readonly id: string }[]
}

export async function endpointsOf(rig: Rig, pool: string): Promise<readonly EndpointView[]> {
  const pools = await rig.admin<Record<string, readonly EndpointView[]>>('/pools')
  return pools[pool]!
}

/**
 * Waits for a scrape of each reachable endpoint that shows what is so now: decisions up to a moment before a scrape are what a scrape
 * is taken to have seen.
 */
export async function scraped(rig: Rig, pool: string): Promise<readonly EndpointView[]> {
  const since = Date.now() + 15
  const probe = async () => {
    const endpoints = await endpointsOf(rig, pool)
    return endpoints.every(({ state, scrapedAt }) => state === 'unreachable' || scrapedAt >= since) && endpoints
  }
  return waitFor('a scrape', probe, { intervalMs: 5 })
}

/** Requests that keep a simulator busy, sent to it directly, until `end`. */
export interface Occupation {
  end(): Promise<void>
}

/** Resolves when the simulator runs (or queues) `count` more requests for `model`. */
export async function occupy(simulator: Simulator, model: string, count = 1): Promise<Occupation> {
  const load = () => simulator.load().running + simulator.load().waiting
  const before = load()
  const requests = Array.from({ length: count }, () => {
    const outgoing = httpRequest({ port: simulator.port, path: '/v1/completions', method: 'POST', agent: false })
    outgoing.on('error', () => {})
    outgoing.on('response', incoming => incoming.on('error', () => {}).resume())
    outgoing.end(JSON.stringify({ model, prompt: 'Keep busy', max_tokens: 8000, ignore_eos: true, stream: true }))
    return outgoing
  })
  await waitFor('the simulator to be busy', () => load() === before + count, { intervalMs: 2 })
  return {
    end: async () => {
      for (const outgoing of requests) outgoing.destroy()
      await waitFor('the simulator to be free', () => load() === before)
    },
  }
}
