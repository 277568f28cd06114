/**
 * Cost of everything above the transport in one exchange: decode, facts, rules, pick among 8 scraped endpoints, answers. The real
 * service and a linked plan, fed with the messages of the load generators through a stream that only counts what comes back.
 * CPU time of the whole process, so that garbage collection counts; as ratios to what generated code needs to decode the same
 * messages, with `JSON.parse` of the body.
 *
 *     node test/bench/exchange.bench.ts [--only look-300,…] [--seconds N]
 *
 * `allocated` is the heap used up per exchange, `gc` the collector's share of wall time.
 */
import { fromBinary } from '@bufbuild/protobuf'
import { PerformanceObserver } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ExtProcService } from '../../src/extproc/service.ts'
import {
  ProcessingRequestSchema,
  type ProcessingResponse,
  ProcessingResponseSchema,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { PREFIX_BYTES } from '../../src/grpc/framing.ts'
import { MessageCutter } from '../../src/grpc/message-cutter.ts'
import { GrpcStatus, type ServerStream, StreamEnd, type StreamHeaders } from '../../src/grpc/transport.ts'
import { addresses, scrape } from '../../src/inference/testing.ts'
import { LocalPlan } from '../support/local-plan.ts'
import { Outcomes } from '../../src/pipeline/outcomes.ts'
import { ENTRY_METADATA } from '../../src/pipeline/plan.ts'
import { benchPlan, ENTRIES, type EntryName, POOL } from './bench-plan.ts'
import type { Exchange } from './ext-proc-client.ts'
import { buildExchanges, type ExchangeOptions } from './ext-proc-messages.ts'
import { median } from './statistics.ts'

/** Bytes of body in one DATA frame: what Envoy sends large messages in. */
const FRAME_BYTES = 16 * 1024
const PROMPTS = 64
const ROUNDS = 25
/** One endpoint is scraped anew after so many exchanges: 8 endpoints every 50 ms at 80,000 a second. */
const SCRAPE_EVERY = 500
const SSE_CHUNKS = 256

interface Row {
  readonly id: string
  readonly entry: EntryName
  readonly messages: Partial<ExchangeOptions>
  /** What an exchange of the row is divided by. */
  readonly per?: number
}

const ROWS: readonly Row[] = [
  { id: 'look-300', entry: 'look', messages: { request: 'look' } },
  { id: 'request-300', entry: 'request-only', messages: { request: 'fds' } },
  { id: 'fds-300', entry: 'fds', messages: { request: 'fds', response: 'fds', responseChunks: 1 } },
  { id: 'look-220k-first', entry: 'look', messages: { request: 'look', bodyBytes: 220_000 } },
  { id: 'look-220k-last', entry: 'look', messages: { request: 'look', bodyBytes: 220_000, modelLast: true } },
  {
    id: 'fds-220k',
    entry: 'fds',
    messages: { request: 'fds', response: 'fds', responseChunks: 1, bodyBytes: 220_000 },
  },
  {
    id: 'sse-chunk',
    entry: 'fds',
    messages: { request: 'fds', response: 'fds', responseChunks: SSE_CHUNKS, stream: true },
    per: SSE_CHUNKS,
  },
]

/** A message as a transport delivers it. */
interface Part {
  readonly bytes: Uint8Array
  readonly remaining: number
}

interface Played {
  readonly parts: readonly Part[]
  /** The same without prefixes, for the generated code. */
  readonly messages: readonly Uint8Array[]
  readonly body: Buffer
}

class CountingStream implements ServerStream {
  readonly pendingBytes = 0
  bytes = 0
  status: GrpcStatus | undefined
  /** Where what is sent goes while it is checked. */
  kept: Uint8Array[] | undefined

  send(bytes: Uint8Array): void {
    this.bytes += bytes.length
    this.kept?.push(Uint8Array.from(bytes))
  }

  end(status: GrpcStatus): void {
    this.status = status
  }

  grant(): void {}
}

const HEADERS: StreamHeaders = { ':path': '/envoy.service.ext_proc.v3.ExternalProcessor/Process', te: 'trailers' }

class Bench {
  readonly #service: ExtProcService
  readonly #pool
  readonly #played: readonly Played[]
  #count = 0
  sent = 0

  constructor({ entry, messages }: Row) {
    const linked = new LocalPlan({
      outcomes: new Outcomes(),
      nowMs: Date.now,
      random: Math.random,
      pool: { releaseBy: ENTRIES[entry].followResponse ? 'response' : 'scrape', seed: 7 },
    })
    linked.update(benchPlan(entry, addresses(8)))
    this.#pool = linked.pools.get(POOL)!
    for (let i = 0; i < 8; i++) this.#scrape()
    this.#service = new ExtProcService({
      decider: headers => {
        const id = headers[ENTRY_METADATA]
        return linked.entry(Array.isArray(id) ? id[0] : id)
      },
      // As our own transport lends them.
      retainsParts: false,
      onError: error => {
        throw error
      },
    })
    this.#played = buildExchanges({
      bodyBytes: 300,
      chunkBytes: FRAME_BYTES,
      distinct: PROMPTS,
      modelLast: false,
      request: 'fds',
      response: 'none',
      stream: false,
      responseChunks: 0,
      ...messages,
    }).map(asPlayed)
  }

  /** One exchange on a stream of its own, ended as a client ends it. */
  exchange(kept?: Uint8Array[]): void {
    if (this.#count++ % SCRAPE_EVERY === 0) this.#scrape()
    const stream = new CountingStream()
    stream.kept = kept
    const handler = this.#service.open(stream, HEADERS)
    const { parts } = this.#played[this.#count % PROMPTS]!
    for (let i = 0; i < parts.length && stream.status === undefined; i++) {
      const part = parts[i]!
      handler.data(part.bytes, part.remaining)
    }
    handler.closed(StreamEnd.HALF_CLOSED)
    if (stream.status !== GrpcStatus.OK) throw new Error(`ended with ${String(stream.status)}`)
    this.sent += stream.bytes
  }

  /** What generated code takes for the same. */
  baseline(): void {
    const { messages, body } = this.#played[this.#count++ % PROMPTS]!
    for (const message of messages)
      if (fromBinary(ProcessingRequestSchema, message).request.case === undefined) throw new Error('empty')
    if ((JSON.parse(body.toString()) as { model: string }).model !== 'm') throw new Error('no model')
  }

  /** The first answers must decide, or something else is measured. @throws Error */
  check(): void {
    const kept: Uint8Array[] = []
    this.exchange(kept)
    const answer = firstAnswer(Buffer.concat(kept))
    const set =
      answer.response.case === 'requestHeaders' ? answer.response.value.response?.headerMutation?.setHeaders : undefined
    const names = set?.map(({ header }) => header?.key)
    if (names?.includes('x-gateway-destination-endpoint') !== true) throw new Error('no endpoint was picked')
  }

  close(): void {
    this.#service.close()
  }

  #scrape(): void {
    const i = Math.floor(this.#count / SCRAPE_EVERY)
    scrape(this.#pool, i % 8, { waiting: i % 3, running: i % 17, kvUsage: (i % 10) / 10 }, Date.now())
  }
}

function firstAnswer(bytes: Buffer): ProcessingResponse {
  return fromBinary(ProcessingResponseSchema, bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + bytes.readUInt32BE(1)))
}

/** The messages of both directions cut into DATA frames, and those into parts of messages. */
function asPlayed({ request, responses, body }: Exchange): Played {
  const parts: Part[] = []
  const messages: Uint8Array[] = []
  const cutter = new MessageCutter(Number.MAX_SAFE_INTEGER)
  const sink = { part: (bytes: Uint8Array, remaining: number) => parts.push({ bytes, remaining }) > 0 }
  for (const message of [...request, ...responses]) {
    messages.push(message.subarray(PREFIX_BYTES))
    for (let at = 0; at < message.length; at += FRAME_BYTES) {
      cutter.cut(Buffer.from(message.subarray(at, Math.min(message.length, at + FRAME_BYTES))), sink)
    }
  }
  return { parts, messages, body }
}

let collecting = 0
new PerformanceObserver(list => {
  for (const { duration } of list.getEntries()) collecting += duration
}).observe({ entryTypes: ['gc'] })

interface Cost {
  /** CPU, µs a call. */
  readonly micros: number
  /** Share of wall time. */
  readonly gc: number
}

/** Best of some rounds: the noise of a shared machine only ever adds. */
async function measure(run: () => void, seconds: number): Promise<Cost> {
  let repeats = 1
  for (const until = performance.now() + 1000 * seconds; performance.now() < until; repeats++) run()
  // Rounds of a twentieth: short enough that some of them have the machine for themselves.
  repeats = Math.max(1, Math.floor(repeats / (20 * Math.max(1, seconds))))
  let micros = Number.POSITIVE_INFINITY
  await turn()
  collecting = 0
  const start = performance.now()
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    for (let i = 0; i < repeats; i++) run()
    const { user, system } = process.cpuUsage(before)
    micros = Math.min(micros, (user + system) / repeats)
    await turn()
  }
  await turn()
  return { micros, gc: collecting / (performance.now() - start) }
}

/** Bytes of heap a call, from short runs between two collections. */
function allocated(run: () => void, repeats: number): number {
  const figures: number[] = []
  for (let i = 0; i < 101; i++) {
    const before = process.memoryUsage().heapUsed
    for (let j = 0; j < repeats; j++) run()
    const grown = process.memoryUsage().heapUsed - before
    if (grown > 0) figures.push(grown / repeats)
  }
  return median(figures)
}

const { values } = parseArgs({ options: { only: { type: 'string' }, seconds: { type: 'string', default: '0.5' } } })
const only = values.only?.split(',')
console.log('row               µs CPU  decode+parse  ratio  allocated     gc')
for (const row of ROWS) {
  if (only !== undefined && !only.includes(row.id)) continue
  const bench = new Bench(row)
  bench.check()
  const run = (): void => bench.exchange()
  const cost = await measure(run, Number(values.seconds))
  const heap = allocated(run, 50)
  const baseline = await measure(() => bench.baseline(), Number(values.seconds) / 4)
  bench.close()
  if (bench.sent === 0) throw new Error('nothing was done')
  const per = row.per ?? 1
  console.log(
    [
      row.id.padEnd(16),
      (cost.micros / per).toFixed(2).padStart(7),
      (baseline.micros / per).toFixed(2).padStart(13),
      (cost.micros / baseline.micros).toFixed(3).padStart(6),
      `${(heap / per).toFixed(0)} B`.padStart(10),
      `${(100 * cost.gc).toFixed(1)} %`.padStart(6),
    ].join(' '),
  )
}
