/**
 * Cost of decoding the header block of a request, as a ratio to the plainest decoder (an array for a table, Huffman bit by bit, no
 * rules checked), in one run. The blocks are what Envoy's ext_proc client sends, as measured: the second and every later stream of
 * a connection has the same 46 bytes, of which 39 are `:path`.
 *
 *     node test/bench/hpack.bench.ts
 */
import { encodeHeaders } from '../../src/grpc/h2/hpack/encode-headers.ts'
import { type Field, PlainDecoder, PlainEncoder } from '../../src/grpc/h2/hpack/plain-hpack.testing.ts'
import { HeaderResult, RequestHeaderDecoder } from '../../src/grpc/h2/hpack/request-header-decoder.ts'

const ROUNDS = 9
/** A multiple of a connection's requests. */
const CALLS = 256 * 200
const LIMITS = { maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 200 }

const ENVOY: readonly Field[] = [
  [':method', 'POST'],
  [':path', '/envoy.service.ext_proc.v3.ExternalProcessor/Process'],
  [':authority', 'signalbox_ext_proc'],
  [':scheme', 'http'],
  ['te', 'trailers'],
  ['content-type', 'application/grpc'],
  ['x-envoy-internal', 'true'],
  ['x-forwarded-for', '10.0.0.1'],
]

const indexed = { as: 'indexed', nameByIndex: true, huffmanName: true, huffmanValue: true } as const
const literal = { ...indexed, as: 'without' } as const

/** Envoy never indexes `:path`. */
function encode(encoder: PlainEncoder, fields: readonly Field[]): number[] {
  return fields.flatMap(field => encoder.field(field, field[0] === ':path' ? literal : indexed))
}

interface Case {
  readonly name: string
  /** Decoded over and over, in turn. The first one empties the table, so that the others mean the same every time. */
  readonly blocks: readonly Buffer[]
}

/** 256 requests of one connection; the nth has `more(nth)` beside Envoy's own fields. */
function connection(name: string, more: (encoder: PlainEncoder, nth: number) => readonly number[]): Case {
  const encoder = new PlainEncoder()
  const blocks = Array.from({ length: 256 }, (_, nth) => {
    const reset = nth === 0 ? [...encoder.sizeUpdate(0), ...encoder.sizeUpdate(4096)] : []
    return Buffer.from([...reset, ...encode(encoder, ENVOY), ...more(encoder, nth)])
  })
  return { name, blocks }
}

const CASES: readonly Case[] = [
  connection('the same again', () => []),
  connection('a new grpc-timeout', (encoder, nth) => encoder.field(['grpc-timeout', `${1000 + nth}m`], literal)),
  connection('a new traceparent', (encoder, nth) =>
    encoder.field(['traceparent', `00-4bf92f3577b34da6a3ce929d0e0e4${100 + nth}-00f067aa0ba902b7-01`], indexed),
  ),
]

/** CPU time in ns a call, best of some rounds: the noise of a shared machine only ever adds. */
function measure(run: (nth: number) => void): number {
  for (let nth = 0; nth < CALLS; nth++) run(nth)
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    for (let nth = 0; nth < CALLS; nth++) run(nth)
    const { user, system } = process.cpuUsage(before)
    best = Math.min(best, ((user + system) * 1000) / CALLS)
  }
  return best
}

console.log('block               bytes  decode ns  plain ns  decode/plain')
for (const { name, blocks } of CASES) {
  const decoder = new RequestHeaderDecoder(LIMITS)
  const plain = new PlainDecoder()
  const ours = measure(nth => {
    const block = blocks[nth % blocks.length]!
    if (decoder.decodeRequest(block, 0, block.length) !== HeaderResult.OK) throw new Error('the decoder failed')
    if (decoder.headers[':method'] !== 'POST') throw new Error('the decoder is wrong')
  })
  const plainly = measure(nth => {
    if (plain.decode(blocks[nth % blocks.length]!)[0]![1] !== 'POST') throw new Error('the plain decoder is wrong')
  })
  console.log(
    [
      name.padEnd(19),
      String(blocks[1]!.length).padEnd(6),
      ours.toFixed(0).padStart(9),
      plainly.toFixed(0).padStart(9),
      (ours / plainly).toFixed(3).padStart(13),
    ].join(' '),
  )
}

const answer = [
  ':status',
  '200',
  'content-type',
  'application/grpc',
  'grpc-status',
  '5',
  'grpc-message',
  'no such pool',
]
const encoding = measure(() => {
  if (encodeHeaders(answer).length === 0) throw new Error('nothing was encoded')
})
console.log(`\nencoding an answer of ${encodeHeaders(answer).length} bytes: ${encoding.toFixed(0)} ns`)
