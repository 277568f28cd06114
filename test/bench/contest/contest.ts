/** A run of the contest: one workload, placed by one contestant, on model servers of its own. */
import { setTimeout as delay } from 'node:timers/promises'
import { waitFor } from '../../support/wait-for.ts'
import type { Outcome } from '../placement/simulation.ts'
import { BASE_MODEL, type Workload } from '../placement/workloads.ts'
import type { Binaries, Contestant } from './contestants.ts'
import { play } from './load.ts'
import { failuresOf, outcomeOf } from './outcome.ts'
import { startReplicas } from './replicas.ts'
import { type Api, API_PATHS } from './requests.ts'

/** A dead replica is taken off the list after this, as in the simulation. */
const READINESS_MS = 5000
const WARM_REQUESTS = 12

export interface RunOptions {
  readonly binaries: Binaries
  /** llm-d-inference-sim; undefined: our own simulator. */
  readonly simulator: string | undefined
  readonly api: Api
}

export interface Run {
  readonly outcome: Outcome
  readonly failures: ReadonlyMap<string, number>
  /** The client's own lateness (load.ts). */
  readonly lateMs: number
}

export async function run(workload: Workload, contestant: Contestant, options: RunOptions): Promise<Run> {
  const replicas = await startReplicas(workload.engines, options.simulator)
  try {
    const gateway = await contestant.start(replicas.addresses, options.binaries)
    const removal = new AbortController()
    try {
      await warm(gateway.port, options.api)
      const { answers, lateMs } = await play(workload, {
        port: gateway.port,
        api: options.api,
        dies: () => {
          replicas.kill(0)
          delay(READINESS_MS, undefined, { signal: removal.signal })
            .then(() => gateway.update(replicas.addresses.slice(1)))
            .catch(() => {})
        },
      })
      const hits = await replicas.hits()
      return { outcome: outcomeOf(workload, contestant.name, answers, hits), failures: failuresOf(answers), lateMs }
    } finally {
      removal.abort()
      await gateway.stop()
    }
  } finally {
    await replicas.stop()
  }
}

/** Until the gateway answers, and a few more, one after the other: connections are open, replicas listed, code compiled. */
async function warm(port: number, api: Api): Promise<void> {
  const ask = async (i: number) => {
    const response = await fetch(`http://127.0.0.1:${port}${API_PATHS[api]}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: BASE_MODEL,
        ...(api === 'chat' ? { messages: [{ role: 'user', content: `Warm ${i}` }] } : { prompt: `Warm ${i}` }),
        max_tokens: 1,
      }),
    })
    await response.arrayBuffer()
    return response.status === 200
  }
  await waitFor('the gateway', () => ask(0), { timeoutMs: 30_000 })
  for (let i = 1; i <= WARM_REQUESTS; i++) await ask(i)
  // The replicas are idle again when the next scrape is through.
  await delay(500)
}
