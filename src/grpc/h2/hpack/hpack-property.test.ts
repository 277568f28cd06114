import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { type Field, PlainDecoder, PlainEncoder, type Representation } from './plain-hpack.testing.ts'
import { allOf, joined, RandomBlocks, randomNumbers } from './random-blocks.testing.ts'
import { type HeaderLimits, HeaderResult, RequestHeaderDecoder } from './request-header-decoder.ts'

const LIMITS: HeaderLimits = { maxTableBytes: 4096, maxListBytes: 65_536, maxFields: 200 }

const token = fc.string({
  unit: fc.constantFrom(...Array.from('abcdefghijklmnopqrstuvwxyz0123456789-_.~!#')),
  minLength: 1,
  maxLength: 12,
})
const name = fc.oneof(
  fc.constantFrom('x', 'cookie', 'user-agent', 'accept', '__proto__', 'constructor', 'grpc-timeout'),
  // A prefix keeps clear of names with a meaning.
  token.map(text => `x-${text}`),
)
const octet = fc
  .integer({ min: 0x20, max: 0xff })
  .filter(code => code !== 0x7f)
  .map(code => String.fromCharCode(code))
const value = fc.oneof(
  fc.constantFrom('', 'gzip, deflate', 'a', 'v'.repeat(130)),
  fc.string({ unit: octet, maxLength: 200 }).map(text => text.replaceAll(/^ +| +$/g, '')),
)
const representation: fc.Arbitrary<Representation> = fc.record({
  as: fc.constantFrom('indexed', 'indexed', 'incremental', 'without', 'never'),
  nameByIndex: fc.boolean(),
  huffmanName: fc.boolean(),
  huffmanValue: fc.boolean(),
})
const fields = fc.array(fc.tuple(fc.tuple(name, value), representation), { maxLength: 20 })
const block = fc.record({
  updates: fc.array(fc.integer({ min: 0, max: 4096 }), { maxLength: 2 }),
  pseudo: fc.array(representation, { minLength: 4, maxLength: 4 }),
  fields,
})

const PSEUDO: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/a.B/C'],
  [':authority', 'picker'],
]

describe('requests of one connection', () => {
  it('decode to what was encoded, in any representation, with any changes of the table size', () => {
    fc.assert(
      fc.property(fc.array(block, { maxLength: 12 }), blocks => {
        const encoder = new PlainEncoder()
        const decoder = new RequestHeaderDecoder(LIMITS)
        for (const { updates, pseudo, fields: rest } of blocks) {
          const bytes = updates.flatMap(capacity => encoder.sizeUpdate(capacity))
          for (const [at, field] of PSEUDO.entries()) bytes.push(...encoder.field(field, pseudo[at]!))
          for (const [field, how] of rest) bytes.push(...encoder.field(field, how))
          expect(decoder.decodeRequest(Uint8Array.from(bytes), 0, bytes.length)).toBe(HeaderResult.OK)
          expect(allOf(decoder)).toEqual({ ...joined([...PSEUDO, ...rest.map(([field]) => field)]) })
        }
      }),
      { numRuns: 300 },
    )
  })

  it('are the same whether the limits stop materialising or not', () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = randomNumbers(seed)
      const source = new RandomBlocks(random, 4096)
      const tight = new RequestHeaderDecoder({ maxTableBytes: 4096, maxListBytes: random(1500), maxFields: random(40) })
      const ample = new RequestHeaderDecoder(LIMITS)
      for (let round = 0; round < 30; round++) {
        const { block: bytes } = source.next(20)
        expect(ample.decodeRequest(bytes, 0, bytes.length)).toBe(HeaderResult.OK)
        const result = tight.decodeRequest(bytes, 0, bytes.length)
        if (result === HeaderResult.OK) expect(tight.headers).toEqual(ample.headers)
        else expect(result).toBe(HeaderResult.TOO_LARGE)
      }
    }
  })
})

describe('the plain decoder that the tests and the benchmark compare with', () => {
  it('reads what the plain encoder writes', () => {
    const source = new RandomBlocks(randomNumbers(1), 4096)
    const decoder = new PlainDecoder()
    for (let round = 0; round < 300; round++) {
      const { block: bytes, fields: expected } = source.next(20)
      expect(decoder.decode(bytes)).toEqual(expected)
      expect(decoder.table.entries).toEqual(source.encoder.table.entries)
    }
  })
})
