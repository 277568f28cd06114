/** `ProcessingRequest`s as bytes, at random: any order of fields, unknown ones between them, varints longer than they need be. */
import type { Random } from './random.ts'

const NAMES = [
  ':method',
  ':path',
  ':authority',
  'content-length',
  'content-type',
  'x-request-id',
  'x-gateway-model-name',
  'te',
  'a',
  '',
]
const VALUES = ['', 'POST', '/v1/chat/completions', '123', 'application/json', 'x'.repeat(300), '0']
/** Field 99 in every wire type: varint, 64 bits, bytes, an empty group, 32 bits. */
const UNKNOWN = ['98069601', '99060102030405060708', '9a0602ffff', '9b069c06', '9d0601020304'].map(hex =>
  Buffer.from(hex, 'hex'),
)

const ONE_BYTE = Array.from({ length: 128 }, (_, value) => Buffer.from([value]))
const METADATA = nested(8, [
  nested(1, [text(1, 'envoy.lb'), nested(2, [nested(1, [text(1, 'k'), nested(2, [text(3, 'v')])])])]),
])
const ATTRIBUTES = nested(9, [
  text(1, 'envoy.filters.http.ext_proc'),
  nested(2, [nested(1, [text(1, 'a'), nested(2, [text(3, 'b')])])]),
])

/** Where fields of `ProcessingRequest` lie: the oneof's numbers. */
const ONEOF = { first: 2, last: 7 } as const
const REQUEST_BODY = 4
const RESPONSE_BODY = 5
const REQUEST_TRAILERS = 6

export interface MessageShape {
  /** Number in the oneof; 0: none. */
  readonly kind: number
  readonly body?: Buffer
  readonly endOfStream?: boolean
  /** Request body mode, response body mode, nowait. */
  readonly modes?: readonly [number, number, boolean]
  readonly headers?: readonly (readonly [name: string, value: string])[]
}

export function randomShape(random: Random): MessageShape {
  const kind = random.oneIn(30) ? 0 : ONEOF.first + random.below(ONEOF.last - ONEOF.first + 1)
  return {
    kind,
    body: random.bytes(random.length(2000)),
    endOfStream: random.oneIn(3),
    ...(random.oneIn(3) ? { modes: [random.below(6), random.below(6), random.oneIn(2)] as const } : {}),
    headers: Array.from(
      { length: random.below(random.oneIn(20) ? 50 : 6) },
      () => [random.pick(NAMES), random.pick(VALUES)] as const,
    ),
  }
}

/** `plain`: nothing odd, as Envoy writes it. */
export function messageBytes(shape: MessageShape, random: Random, plain = false): Buffer {
  const parts: Buffer[] = []
  const odd = (times: number): boolean => !plain && random.oneIn(times)
  const { kind, body = Buffer.alloc(0), endOfStream = false, modes, headers = [] } = shape
  if (kind === REQUEST_BODY || kind === RESPONSE_BODY) {
    const inner = [
      ...(body.length > 0 || odd(2) ? [bytesField(1, body, odd(9))] : []),
      ...(endOfStream ? [flag(2, true)] : []),
    ]
    parts.push(nested(kind, shuffled(inner, odd(4) ? random : undefined), odd(9)))
  } else if (kind >= REQUEST_TRAILERS) {
    parts.push(nested(kind, headers.length > 0 ? [headerMap(headers, odd, random)] : [], odd(9)))
  } else if (kind !== 0) {
    const inner = [headerMap(headers, odd, random), ...(endOfStream ? [flag(3, true)] : [])]
    parts.push(nested(kind, shuffled(inner, odd(4) ? random : undefined), odd(9)))
  }
  if (modes !== undefined) {
    const [request, response, nowait] = modes
    const inner = [
      ...(request > 0 ? [uint(1, request)] : []),
      ...(response > 0 ? [uint(2, response)] : []),
      ...(nowait ? [flag(3, true)] : []),
    ]
    parts.push(nested(11, inner))
  }
  if (odd(5)) parts.push(flag(10, random.oneIn(2)))
  if (odd(5)) parts.push(METADATA)
  if (odd(5)) parts.push(ATTRIBUTES)
  if (odd(5)) parts.push(random.pick(UNKNOWN))
  return Buffer.concat(shuffled(parts, odd(3) ? random : undefined))
}

function headerMap(
  headers: readonly (readonly [string, string])[],
  odd: (times: number) => boolean,
  random: Random,
): Buffer {
  const values = headers.map(([name, value]) => {
    // Gateways other than Envoy fill `value` instead of `raw_value`.
    const fields = [...(name === '' ? [] : [text(1, name)]), ...(value === '' ? [] : [text(odd(4) ? 2 : 3, value)])]
    return nested(1, odd(9) ? [random.pick(UNKNOWN), ...fields] : fields)
  })
  return nested(1, values, odd(9))
}

function shuffled<T>(items: readonly T[], random: Random | undefined): readonly T[] {
  if (random === undefined) return items
  const rest = [...items]
  return items.map(() => rest.splice(random.below(rest.length), 1)[0]!)
}

function varint(value: number, long = false): Buffer {
  if (!long && value < 128) return ONE_BYTE[value]!
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest & 127) | 128)
  return Buffer.from(long ? [...bytes, rest | 128, 128, 0] : [...bytes, rest])
}

function nested(field: number, parts: readonly Uint8Array[], long = false): Buffer {
  return bytesField(field, Buffer.concat(parts), long)
}

function bytesField(field: number, bytes: Uint8Array, long = false): Buffer {
  return Buffer.concat([varint((field << 3) | 2), varint(bytes.length, long), bytes])
}

function text(field: number, value: string): Buffer {
  return bytesField(field, Buffer.from(value))
}

function uint(field: number, value: number): Buffer {
  return Buffer.concat([varint(field << 3), varint(value)])
}

function flag(field: number, value: boolean): Buffer {
  return uint(field, value ? 1 : 0)
}
