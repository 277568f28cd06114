/** HPACK: what random encoders write, as it is and mutated, differentially against the plain decoder of HPACK's own tests. */
import { isDeepStrictEqual } from 'node:util'
import { type Field, PlainDecoder } from '../../src/grpc/h2/hpack/plain-hpack.testing.ts'
import { allOf, joined } from '../../src/grpc/h2/hpack/random-blocks.testing.ts'
import { HeaderResult, RequestHeaderDecoder } from '../../src/grpc/h2/hpack/request-header-decoder.ts'
import { randomBlock } from './header-blocks.ts'
import { mutate } from './random.ts'
import type { Random } from './random.ts'
import { Finding, count } from './target.ts'
import type { FuzzTarget } from './target.ts'

const MAX_LIST_BYTES = 1000
const MAX_FIELDS = 15
const FIELD_OVERHEAD = 32
const BLOCKS = 12
const RESULTS = new Map(Object.entries(HeaderResult).map(([name, result]) => [result as number, name]))

export class HpackTarget implements FuzzTarget {
  readonly name = 'hpack'
  readonly unit = 'header blocks'
  readonly seen = new Map<string, number>()

  /** One connection. */
  play(random: Random): number {
    const maxTableBytes = random.pick([4096, 4096, 0, 200, 10_000])
    const ours = new RequestHeaderDecoder({ maxTableBytes, maxListBytes: MAX_LIST_BYTES, maxFields: MAX_FIELDS })
    const plain = new PlainDecoder(maxTableBytes)
    let last: Uint8Array = new Uint8Array(0)
    for (let nth = 1; nth <= BLOCKS; nth++) {
      // Clients say the same thing again; what is remembered must stay true.
      const trailers = random.oneIn(8)
      const block = random.oneIn(4) ? last : someBlock(random, maxTableBytes, trailers)
      last = block
      // Somewhere within a buffer that has other bytes around it.
      const at = random.below(8)
      const buffer = Buffer.concat([random.bytes(at), block, random.bytes(3)])
      const before = ours.headers
      const result = trailers
        ? ours.decodeTrailers(buffer, at, at + block.length)
        : ours.decodeRequest(buffer, at, at + block.length)
      count(this.seen, RESULTS.get(result) ?? `unknown result ${result}`)
      const fields = plainly(plain, block)
      const wrong = complaint(
        result,
        fields,
        ours.headers === before && result !== HeaderResult.OK ? undefined : allOf(ours),
        trailers,
      )
      if (wrong !== undefined)
        throw new Finding(`block ${nth}: ${wrong}\n  input ${Buffer.from(block).toString('hex')}`)
      if (fields === undefined) return nth
    }
    return BLOCKS
  }
}

function someBlock(random: Random, maxTableBytes: number, trailers: boolean): Uint8Array {
  if (random.oneIn(50)) return random.bytes(random.length(200))
  const block = randomBlock(random, maxTableBytes, trailers)
  return random.oneIn(4) ? mutate(block, random) : block
}

function plainly(decoder: PlainDecoder, block: Uint8Array): readonly Field[] | undefined {
  try {
    return decoder.decode(block)
  } catch {
    return undefined
  }
}

/** What is wrong with a result, given the plain decoder's fields; undefined: nothing. */
function complaint(
  result: HeaderResult,
  fields: readonly Field[] | undefined,
  headers: Readonly<Record<string, unknown>> | undefined,
  trailers: boolean,
): string | undefined {
  if ((result === HeaderResult.COMPRESSION_ERROR) !== (fields === undefined)) return 'only one decoder takes it'
  if (fields === undefined) return undefined
  const size = fields.reduce((sum, [name, value]) => sum + name.length + value.length + FIELD_OVERHEAD, 0)
  const tooLarge = size > MAX_LIST_BYTES || fields.length > MAX_FIELDS
  if (result === HeaderResult.TOO_LARGE) return tooLarge ? undefined : 'it is not too large'
  if (result === HeaderResult.MALFORMED)
    return surelyFine(fields, trailers, tooLarge) ? 'it is not malformed' : undefined
  if (tooLarge) return 'it is too large'
  if (trailers) return fields.some(([name]) => name.startsWith(':')) ? 'trailers with pseudo-headers' : undefined
  if (surelyMalformed(fields)) return 'it is malformed'
  // The same length twice is one length.
  const { 'content-length': length, ...expected } = joined(fields)
  const { 'content-length': ourLength, ...rest } = headers ?? {}
  if (!isDeepStrictEqual({ ...rest }, { ...expected }) || ourLength !== length?.split(', ')[0])
    return `other headers: ${JSON.stringify(headers)} instead of ${JSON.stringify(expected)}`
  return undefined
}

const PSEUDO = [':method', ':scheme', ':path', ':authority']
const CONNECTION = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']

/** A rough second opinion on RFC 9113 §8.2 and §8.3; between it and `surelyFine` nothing is said. */
function surelyMalformed(fields: readonly Field[]): boolean {
  const pseudo = fields.filter(([name]) => name.startsWith(':')).map(([name]) => name)
  return (
    pseudo.some((name, index) => !PSEUDO.includes(name) || pseudo.indexOf(name) !== index) ||
    fields.slice(0, pseudo.length).some(([name]) => !name.startsWith(':')) ||
    !pseudo.includes(':method') ||
    fields.some(
      ([name, value]) =>
        /[A-Z\0-\x20\x7f-\xff]/.test(name) || name === '' || CONNECTION.includes(name) || /[\0\r\n]/.test(value),
    )
  )
}

function surelyFine(fields: readonly Field[], trailers: boolean, tooLarge: boolean): boolean {
  if (tooLarge) return false
  const regular = fields.filter(([name]) => !name.startsWith(':'))
  const plain = regular.every(([name, value]) => /^x-[a-z0-9-]+$/.test(name) && /^[a-z0-9]*$/.test(value))
  if (!plain || (trailers && regular.length < fields.length)) return false
  if (trailers) return true
  const head = fields.slice(0, 4).map(([name, value]) => `${name}=${value}`)
  return (
    /^:method=(GET|POST),:scheme=https?,:path=\/[a-z0-9]*,:authority=picker$/.test(head.join(',')) &&
    regular.length === fields.length - 4
  )
}
