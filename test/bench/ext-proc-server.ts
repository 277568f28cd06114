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
import { Scraper } from '../../src/inference/scraper.ts'
import { LinkedPlan } from '../../src/pipeline/linked-plan.ts'
import { Outcomes } from '../../src/pipeline/outcomes.ts'
import { ENTRY_METADATA } from '../../src/pipeline/plan.ts'
import { benchPlan, ENTRIES, type EntryName, POOL } from './bench-plan.ts'

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

const linked = new LinkedPlan({
  outcomes: new Outcomes(),
  nowMs: Date.now,
  random: Math.random,
  pool: { releaseBy: ENTRIES[entryName as EntryName].followResponse ? 'response' : 'scrape', seed: 7 },
})
linked.update(benchPlan(entryName as EntryName, addresses))
const pool = linked.pools.get(POOL)!
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
