/** Header blocks as an encoder could write them, made at random (reproducibly) from a few names and values that come again. */
import { type Field, PlainEncoder, type Representation } from './plain-hpack.testing.ts'
import type { RequestHeaderDecoder } from './request-header-decoder.ts'

/** Numbers in [0, bound), the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): (bound: number) => number {
  let state = seed >>> 0
  return bound => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound)
  }
}

const NAMES = [
  'x',
  'te',
  'cookie',
  'user-agent',
  'accept-encoding',
  'content-type',
  'x-request-id',
  'grpc-timeout',
  'via',
]
const VALUES = [
  '',
  'trailers',
  'application/grpc',
  'gzip, deflate',
  '1S',
  'a=b',
  '\u00e9t\u00e9',
  'blank inside',
  'q;r=1',
]
const KINDS = ['indexed', 'indexed', 'incremental', 'without', 'never'] as const

/** One connection's encoder, and what it says at random. */
export class RandomBlocks {
  readonly encoder = new PlainEncoder()
  private readonly random: (bound: number) => number
  private readonly maxTableBytes: number

  constructor(random: (bound: number) => number, maxTableBytes: number) {
    this.random = random
    this.maxTableBytes = maxTableBytes
  }

  /** The next block and the fields it holds: a request's pseudo-headers, and up to `fields` more. */
  next(fields: number): { readonly block: Uint8Array; readonly fields: readonly Field[] } {
    const all = [...this.pseudoHeaders(), ...Array.from({ length: this.random(fields + 1) }, () => this.field())]
    const bytes: number[] = []
    for (let updates = this.random(12) === 0 ? 1 + this.random(2) : 0; updates > 0; updates--) {
      bytes.push(...this.encoder.sizeUpdate(this.random(this.maxTableBytes + 1)))
    }
    for (const field of all) bytes.push(...this.encoder.field(field, this.representation()))
    return { block: Uint8Array.from(bytes), fields: all }
  }

  private pseudoHeaders(): Field[] {
    return [
      [':method', this.pick(['GET', 'POST', 'PUT'])],
      [':scheme', this.pick(['http', 'https'])],
      [':path', this.pick(['/', '/index.html', '/a.B/C', `/${this.random(50)}`])],
      [':authority', this.pick(['picker', 'example.com:80'])],
    ]
  }

  private field(): Field {
    const name = this.random(5) === 0 ? `x-${this.random(1000)}` : this.pick(NAMES)
    if (name === 'te') return [name, 'trailers']
    return [name, this.random(4) === 0 ? 'v'.repeat(this.random(200)) : this.pick(VALUES)]
  }

  private representation(): Representation {
    return {
      as: this.pick(KINDS),
      nameByIndex: this.random(4) > 0,
      huffmanName: this.random(2) > 0,
      huffmanValue: this.random(2) > 0,
    }
  }

  private pick<T>(choices: readonly T[]): T {
    return choices[this.random(choices.length)]!
  }
}

/** A request's fields as the decoder gives them: repeated names joined. */
export function joined(fields: readonly Field[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [name, value] of fields) {
    const before = headers[name]
    headers[name] = before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`
  }
  return headers
}

/** What the decoder says of the request decoded last, `grpc-timeout` among the rest. */
export function allOf({ headers, timeout }: RequestHeaderDecoder): Record<string, string> {
  return { ...(headers as Record<string, string>), ...(timeout === undefined ? {} : { 'grpc-timeout': timeout }) }
}
