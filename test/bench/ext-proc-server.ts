/**
 * Our ext_proc server as a process of its own, so that its CPU can be read from outside: transport, service and a linked plan that
 * really routes by model and picks among scraped endpoints, without xDS, admin port and configuration files.
 *
 *     node test/bench/ext-proc-server.ts --transport own|node --endpoints 127.0.0.1:8000,… [--scrape-ms N] [--profile FILE]
 *
 * Load generators send no metadata that names an entry, so each entry has a port. Prints one JSON line, `{"ports": {ENTRY: PORT}}`, when every
 * endpoint has been scraped; ends on SIGTERM or when its standard input closes.
 */
import { writeFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import { flushCompileCache } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ExtProcService } from '../../src/extproc/service.ts'
import { listenH2 } from '../../src/grpc/h2/h2-transport.ts'
import { listenHttp2 } from '../../src/grpc/http2-transport.ts'
import { Scraper } from '../../src/inference/scraper.ts'
import { Outcomes } from '../../src/pipeline/outcomes.ts'
import { LocalPlan } from '../support/local-plan.ts'
import { benchPlan, ENTRIES, entryId, type EntryName, POOL } from './bench-plan.ts'

const { values } = parseArgs({
  options: {
    transport: { type: 'string', default: 'own' },
    endpoints: { type: 'string', default: '' },
    'scrape-ms': { type: 'string', default: '50' },
    profile: { type: 'string' },
  },
})
// As src/cli/main.ts does.
flushCompileCache()
const addresses = values.endpoints.split(',').filter(address => address !== '')
if (addresses.length === 0) throw new Error('--endpoints is missing')

/** With whether a service may keep the bytes that it is lent. */
const TRANSPORTS = {
  own: { listen: listenH2, retainsParts: false },
  node: { listen: listenHttp2, retainsParts: true },
} as const
if (!Object.hasOwn(TRANSPORTS, values.transport)) throw new Error(`--transport must be own or node`)
const { listen, retainsParts } = TRANSPORTS[values.transport as keyof typeof TRANSPORTS]

const linked = new LocalPlan({
  outcomes: new Outcomes(),
  nowMs: Date.now,
  random: Math.random,
  pool: { releaseBy: 'response', seed: 7 },
})
const plan = benchPlan('fds', addresses)
const intervalMs = Number(values['scrape-ms'])
linked.update({
  ...plan,
  pools: plan.pools.map(pool => ({ ...pool, scrape: { ...pool.scrape, intervalMs, staleMs: 20 * intervalMs } })),
})
const scraper = new Scraper(linked.pools.get(POOL)!)
scraper.start()

const names = Object.keys(ENTRIES) as EntryName[]
const onError = (error: unknown): void => console.error(error)
const services = names.map(name => {
  const decider = linked.entry(entryId(name))
  return new ExtProcService({ decider: () => decider, retainsParts, onError })
})
const servers = await Promise.all(
  services.map(service => listen({ services: [service], listen: { host: '127.0.0.1', port: 0 }, onError })),
)

/** Not `--cpu-prof`: that would count the start of the process, which reads and strips all of the sources. */
let profiler: Session | undefined
async function startProfile(): Promise<void> {
  profiler = new Session()
  profiler.connect()
  await profiler.post('Profiler.enable')
  await profiler.post('Profiler.setSamplingInterval', { interval: 250 })
  await profiler.post('Profiler.start')
}

const stopping = new AbortController()
async function stop(): Promise<void> {
  if (stopping.signal.aborted) return
  stopping.abort()
  if (profiler !== undefined) {
    const { profile } = await profiler.post('Profiler.stop')
    await writeFile(values.profile!, JSON.stringify(profile))
  }
  scraper.stop()
  for (const service of services) service.close()
  await Promise.all(servers.map(server => server.close()))
  process.exit(0)
}
process.on('SIGTERM', () => void stop())
process.stdin.on('end', () => void stop()).resume()

while (scraper.stats.good < addresses.length && !stopping.signal.aborted) await delay(20)
if (values.profile !== undefined) await startProfile()
console.log(JSON.stringify({ ports: Object.fromEntries(names.map((name, i) => [name, servers[i]!.port])) }))
