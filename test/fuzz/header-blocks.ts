/** Header blocks (RFC 7541) put together at random from prepared pieces: quick, mostly valid, in every representation. */
import { plainHuffmanEncode } from '../../src/grpc/h2/hpack/plain-hpack.testing.ts'
import type { Random } from './random.ts'

const NAMES = [
  'x',
  'x-a',
  'x-request-id',
  'cookie',
  'via',
  'user-agent',
  'grpc-timeout',
  'x-gateway-model-name',
  'constructor',
]
const BAD_NAMES = ['connection', 'X-Upper', ':status', ':path', '', 'a b', 'te', 'host', 'content-length']
const VALUES = [
  '',
  '1',
  'trailers',
  'application/grpc',
  'gzip, deflate',
  '1S',
  'a=b',
  '\u00e9t\u00e9',
  'blank inside',
  'v'.repeat(150),
  'w'.repeat(900),
]
const BAD_VALUES = [' blank', 'new\nline', '\0', 'tab\t']
const PATHS = ['/', '/index.html', '/a.B/C', '/1', '/2', 'nowhere']
const AUTHORITIES = ['picker', 'example.com:80', 'a@b']

/** Literal strings, plain and in Huffman code. */
const encoded = (texts: readonly string[]): readonly Buffer[] =>
  texts.flatMap(text => {
    const huffman = plainHuffmanEncode(text)
    return [
      Buffer.concat([integer(0x00, 7, text.length), Buffer.from(text, 'latin1')]),
      Buffer.concat([integer(0x80, 7, huffman.length), huffman]),
    ]
  })

const names = encoded(NAMES)
const badNames = encoded(BAD_NAMES)
const values = encoded(VALUES)
const badValues = encoded(BAD_VALUES)
const paths = encoded(PATHS)
const authorities = encoded(AUTHORITIES)
const methods = encoded(['PUT', 'OPTIONS', 'CONNECT', 'bad method'])

/** Literals with incremental indexing, without, never: first byte's flags, bits of the index. */
const LITERALS = [
  [0x40, 6],
  [0x00, 4],
  [0x10, 4],
] as const
/** Fields of the static table that a request may have, by their index. */
const STATIC_FIELDS = [16, 17, 19, 23, 24, 26, 31, 40, 50, 51, 53, 58, 60]
const STATIC_ENTRIES = 61

/** `maxTable`: what size updates may announce. */
export function randomBlock(random: Random, maxTable: number, isTrailers: boolean): Buffer {
  const parts: Buffer[] = []
  if (random.oneIn(12))
    for (let updates = 1 + random.below(2); updates > 0; updates--)
      parts.push(integer(0x20, 5, random.below(maxTable + 1)))
  if (!isTrailers) pseudoHeaders(random, parts)
  for (let fields = random.below(12); fields > 0; fields--) parts.push(field(random))
  return Buffer.concat(parts)
}

function pseudoHeaders(random: Random, parts: Buffer[]): void {
  const [flags, bits] = random.pick(LITERALS)
  if (random.oneIn(30)) parts.push(integer(flags, bits, 2), random.pick(methods))
  else parts.push(random.oneIn(2) ? POST : GET)
  parts.push(random.oneIn(2) ? HTTP : HTTPS)
  if (random.oneIn(2)) parts.push(ROOT)
  else parts.push(integer(flags, bits, 4), random.pick(paths))
  if (!random.oneIn(6)) parts.push(integer(flags, bits, 1), random.pick(authorities))
  if (random.oneIn(60)) parts.push(random.pick([POST, HTTP, ROOT]))
}

function field(random: Random): Buffer {
  const rare = random.oneIn(60)
  switch (random.below(5)) {
    case 0:
      return integer(0x80, 7, random.pick(STATIC_FIELDS))
    case 1:
      // One that is in the dynamic table, by chance.
      return integer(0x80, 7, STATIC_ENTRIES + 1 + random.below(rare ? 40 : 2))
    default: {
      const [flags, bits] = random.pick(LITERALS)
      const value = random.pick(rare ? badValues : values)
      if (random.oneIn(3)) return Buffer.concat([integer(flags, bits, random.pick(STATIC_FIELDS)), value])
      return Buffer.concat([integer(flags, bits, 0), random.pick(rare && random.oneIn(2) ? badNames : names), value])
    }
  }
}

/** RFC 7541 §5.1. */
function integer(flags: number, bits: number, value: number): Buffer {
  const most = 2 ** bits - 1
  if (value < most) return Buffer.from([flags | value])
  const bytes = [flags | most]
  let rest = value - most
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128)
  return Buffer.from([...bytes, rest])
}

const GET = integer(0x80, 7, 2)
const POST = integer(0x80, 7, 3)
const ROOT = integer(0x80, 7, 4)
const HTTP = integer(0x80, 7, 6)
const HTTPS = integer(0x80, 7, 7)
