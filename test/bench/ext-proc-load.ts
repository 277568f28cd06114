/**
 * A load generator for ext_proc servers that plays Envoy: for machines without Go, where `extprocload` cannot be built. It takes
 * those of its options that `npm run bench` uses and prints the same JSON line. Much costlier than the Go program, which does not
 * matter: what is measured is the CPU of the server.
 *
 *     node test/bench/ext-proc-load.ts -addr 127.0.0.1:9002 -pids server=PID -d 4s -c 16 -body 300 -req fds -resp fds
 */
import { setTimeout as delay } from 'node:timers/promises'
import { ExtProcConnection, type Exchange } from './ext-proc-client.ts'
import { buildExchanges } from './ext-proc-messages.ts'
import { processCpuMicros } from './process-cpu.ts'

const FLAGS = new Set(['-stream', '-model-last', '-expect-pick', '-verify-body', '-json'])

const given = new Map<string, string>()
const argv = process.argv.slice(2)
for (let i = 0; i < argv.length; i++) {
  const name = argv[i]!
  if (FLAGS.has(name)) given.set(name, 'true')
  else given.set(name, argv[++i] ?? '')
}
const text = (name: string, otherwise: string): string => given.get(name) ?? otherwise
const number = (name: string, otherwise: number): number => Number(text(name, String(otherwise)).replace(/s$/, ''))

const [serverName, serverPid] = text('-pids', '').split('=') as [string, string | undefined]
const exchanges = buildExchanges({
  bodyBytes: number('-body', 300),
  chunkBytes: 16 * 1024,
  distinct: number('-distinct', 64),
  modelLast: given.has('-model-last'),
  request: text('-req', 'fds'),
  response: text('-resp', 'fds'),
  stream: given.has('-stream'),
  responseChunks: number('-resp-chunks', 1),
})
const expectations = {
  pick: given.has('-expect-pick'),
  header: text('-expect-header', '').split('=', 2) as [string, string?],
  verifyBody: given.has('-verify-body'),
}

const connections = [0, 1].map(() => new ExtProcConnection(text('-addr', '127.0.0.1:9002'), expectations))
let next = 0
const errors = new Map<string, number>()

/** Exchanges one after the other on `workers` streams until `goOn` says no. Returns how many were good. */
async function run(workers: number, goOn: () => boolean): Promise<{ good: number; chunks: number }> {
  const sum = { good: 0, chunks: 0 }
  const worker = async (connection: ExtProcConnection): Promise<void> => {
    while (goOn()) {
      const exchange: Exchange = exchanges[next++ % exchanges.length]!
      try {
        const chunks = await connection.play(exchange)
        sum.chunks += chunks
        sum.good++
      } catch (error) {
        const message = (error as Error).message
        errors.set(message, (errors.get(message) ?? 0) + 1)
        await delay(1)
      }
    }
  }
  await Promise.all(Array.from({ length: workers }, (_, i) => worker(connections[i % connections.length]!)))
  return sum
}

const workers = number('-c', 32)
let left = number('-warm', 200)
await run(workers, () => left-- > 0)
errors.clear()
const cpu = await processCpuMicros(Number(serverPid))
const begun = performance.now()
const count = number('-n', 0)
left = count
const until = begun + number('-d', 10) * 1000
const { good, chunks } = await run(workers, count > 0 ? () => left-- > 0 : () => performance.now() < until)
const used = (await processCpuMicros(Number(serverPid))) - cpu
const seconds = (performance.now() - begun) / 1000
let failed = 0
for (const times of errors.values()) failed += times
if (failed > 0) console.log('errors:', Object.fromEntries(errors))
console.log(
  JSON.stringify({
    n: good,
    errs: failed,
    secs: seconds,
    rps: good / seconds,
    [`${serverName}_us_per_req`]: used / Math.max(1, good),
    ...(chunks > 0 ? { [`${serverName}_us_per_chunk`]: used / chunks } : {}),
  }),
)
for (const connection of connections) connection.close()
