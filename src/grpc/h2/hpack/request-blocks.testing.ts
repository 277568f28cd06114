/** Header blocks of requests, for the decoder's tests. */
import { type Field, PlainEncoder } from './plain-hpack.testing.ts'
import { type HeaderLimits, type HeaderResult, RequestHeaderDecoder } from './request-header-decoder.ts'

export const LIMITS: HeaderLimits = { maxTableBytes: 4096, maxListBytes: 16_384, maxFields: 100 }
export const LITERAL = { as: 'without', nameByIndex: false, huffmanName: false, huffmanValue: true } as const
export const INSERTED = { as: 'incremental', nameByIndex: true, huffmanName: true, huffmanValue: true } as const
export const INDEXED = { ...INSERTED, as: 'indexed' } as const

export const POST: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/a.B/C'],
  [':authority', 'picker'],
]
export const GRPC: readonly Field[] = [
  ['te', 'trailers'],
  ['content-type', 'application/grpc'],
]

/** All of them as literals, which any state of a table understands. */
export function block(fields: readonly Field[]): Buffer {
  const encoder = new PlainEncoder()
  return Buffer.from(fields.flatMap(field => encoder.field(field, LITERAL)))
}

export function resultOf(bytes: Buffer, decoder = new RequestHeaderDecoder(LIMITS)): HeaderResult {
  return decoder.decodeRequest(bytes, 0, bytes.length)
}
