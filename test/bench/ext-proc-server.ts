/**
 * Our ext_proc server as a process of its own, so that its CPU can be read from outside: transport, service and a linked plan that
 * really routes by model and picks among scraped endpoints, without xDS, admin port and configuration files.
 *
 *     node test/bench/ext-proc-server.ts --entry fds|request-only|look --endpoints 127.0.0.1:8000,… [--port N]
 *
 * Prints one JSON line with its port when every endpoint has been scraped; ends on SIGTERM or when its standard input closes.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ExtProcService } from '../../src/extproc/service.ts'
import { listenHttp2 } from '../../src/grpc/http2-transport.ts'
import type { PoolPlan } from '../../src/inference/pool-plan.ts'
import { Scraper } from '../../src/inference/scraper.ts'
import { DEFAULT_SCORERS } from '../../src/inference/scheduling/scorers/registry.ts'
import { LinkedPlan } from '../../src/pipeline/linked-plan.ts'
import { Outcomes } from '../../src/pipeline/outcomes.ts'
import { ENTRY_METADATA, type EntryPlan, type Plan } from '../../src/pipeline/plan.ts'

/** extprocload sends no entry metadata, so the default entry is what the argument says. */
const ENTRIES = {
  /** An InferencePool's gateway, both directions FULL_DUPLEX_STREAMED. */
  fds: { followResponse: true, body: 'full-duplex' },
  /** The same without the response side. */
  'request-only': { followResponse: false, body: 'full-duplex' },
  /** A route of our own fleet without retries, but with the endpoint in the header too, as extprocload expects it. */
  look: { followResponse: false, body: 'look' },
} as const

type EntryName = keyof typeof ENTRIES

function entryPlan(name: EntryName): EntryPlan {
  return {
    id: `${name}@bench`,
    name,
    attach: 'gateway',
    ...ENTRIES[name],
    model: 'first',
    prefixBytes: 32 * 1024,
    maxBodyBytes: 32 * 1024 * 1024,
    retryBufferBytes: 0,
    // Unknown, as for other people's gateways: the load generators take a request for more time for an error.
    messageTimeoutMs: 0,
    uploadTimeoutMs: 60_000,
    uploadIdleMs: 30_000,
    // The rule that matches is neither the first nor the only one, as in a real route table.
    rules: ['other', 'another', 'm'].map(model => ({
      name: `bench/route[${model}]`,
      path: { type: 'prefix', value: '/v1' },
      headers: [],
      query: [],
      model: { name: 'model', type: 'exact', value: model },
      targets: [{ id: `target-${model}`, weight: 1, cluster: 'pool', pool: 'bench/pool' }],
    })),
    listModels: true,
  }
}

function poolPlan(addresses: readonly string[]): PoolPlan {
  return {
    name: 'bench/pool',
    cluster: 'pool',
    endpoints: addresses.map(address => ({ address, labels: {} })),
    failOpen: false,
    rejectUnknownModels: false,
    rewrites: [],
    scheduling: {
      scorers: DEFAULT_SCORERS,
      maxEndpoints: 1,
      maxQueue: 0,
      prefixBlockBytes: 512,
      prefixBlocksPerEndpoint: 8192,
    },
    scrape: { path: '/metrics', intervalMs: 50, timeoutMs: 1000, staleMs: 1000, modelsIntervalMs: 60_000 },
  }
}

const { values } = parseArgs({
  options: {
    entry: { type: 'string', default: 'fds' },
    endpoints: { type: 'string', default: '' },
    port: { type: 'string', default: '0' },
  },
})
const entryName = values.entry
if (!Object.hasOwn(ENTRIES, entryName)) throw new Error(`--entry must be one of ${Object.keys(ENTRIES).join(', ')}`)
const addresses = values.endpoints.split(',').filter(address => address !== '')
if (addresses.length === 0) throw new Error('--endpoints is missing')

const entries = [entryPlan(entryName as EntryName)]
const plan: Plan = {
  version: 'bench',
  routing: {
    modelHeader: 'x-gateway-model-name',
    baseModelHeader: 'x-gateway-base-model-name',
    baseModels: { m: 'm-base' },
  },
  entries,
  pools: [poolPlan(addresses)],
  defaultEntry: entries[0]!.id,
}
const linked = new LinkedPlan({
  outcomes: new Outcomes(),
  nowMs: Date.now,
  random: Math.random,
  pool: { releaseBy: ENTRIES[entryName as EntryName].followResponse ? 'response' : 'scrape', seed: 7 },
})
linked.update(plan)
const pool = linked.pools.get('bench/pool')!
const scraper = new Scraper(pool)
scraper.start()

const service = new ExtProcService({
  decider: headers => {
    const id = headers[ENTRY_METADATA]
    return linked.entry(Array.isArray(id) ? id[0] : id)
  },
  retainsParts: true,
  onError: error => console.error(error),
})
const server = await listenHttp2({
  services: [service],
  listen: { host: '127.0.0.1', port: Number(values.port) },
  onError: error => console.error(error),
})

const stopping = new AbortController()
const stop = (): void => {
  if (stopping.signal.aborted) return
  stopping.abort()
  scraper.stop()
  service.close()
  void server.close().then(() => process.exit(0))
}
process.on('SIGTERM', stop)
process.stdin.on('end', stop).resume()

while (scraper.stats.good < addresses.length && !stopping.signal.aborted) await delay(20)
console.log(JSON.stringify({ port: server.port }))
