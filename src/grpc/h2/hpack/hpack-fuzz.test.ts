import { isDeepStrictEqual } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import type { StreamHeaders } from '../../transport.ts'
import { type Field, PlainDecoder } from './plain-hpack.testing.ts'
import { allOf, joined, RandomBlocks, randomNumbers } from './random-blocks.testing.ts'
import { type HeaderLimits, HeaderResult, RequestHeaderDecoder } from './request-header-decoder.ts'

const CASES = 20_000
const BLOCKS_A_CONNECTION = 8
const MAX_LIST_BYTES = 1000
const MAX_FIELDS = 15
const LIMITS: HeaderLimits = { maxTableBytes: 4096, maxListBytes: MAX_LIST_BYTES, maxFields: MAX_FIELDS }

type Random = (bound: number) => number

/** Changes a block at one to three places; now and then not at all, so that connections get somewhere. */
function mutate(block: Uint8Array, random: Random): Uint8Array {
  const bytes = [...block]
  for (let changes = random(4); changes > 0; changes--) {
    const at = random(bytes.length + 1)
    switch (random(6)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
        break
      case 1:
        bytes.splice(at, 0, random(256))
        break
      case 2:
        bytes.splice(at, 1 + random(4))
        break
      case 3:
        bytes.length = Math.min(at, bytes.length)
        break
      case 4:
        // What is at the edge: all ones, no ones, the prefixes.
        bytes[at] = [0xff, 0x00, 0x80, 0x7f, 0x40, 0x20, 0x3f, 0x1f, 0x0f][random(9)]!
        break
      default:
        bytes.splice(at, 0, ...bytes.slice(at, at + random(30)))
    }
  }
  return Uint8Array.from(bytes)
}

function plainly(decoder: PlainDecoder, block: Uint8Array): readonly Field[] | undefined {
  try {
    return decoder.decode(block)
  } catch {
    return undefined
  }
}

function listBytes(fields: readonly Field[]): number {
  return fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0)
}

/** What is wrong with a result, given the plain decoder's fields; undefined: nothing. */
function complaint(
  result: HeaderResult,
  fields: readonly Field[] | undefined,
  headers: StreamHeaders | undefined,
): string | undefined {
  if ((result === HeaderResult.COMPRESSION_ERROR) !== (fields === undefined)) return 'is broken for one of them'
  if (fields === undefined) return undefined
  const tooLarge = listBytes(fields) > MAX_LIST_BYTES || fields.length > MAX_FIELDS
  if (result === HeaderResult.TOO_LARGE && !tooLarge) return 'is not too large'
  if (result !== HeaderResult.OK) return headers === undefined ? undefined : 'has headers'
  if (tooLarge) return 'is too large'
  if (headers === undefined) return undefined
  // The same length twice is one length.
  const { 'content-length': length, ...expected } = joined(fields)
  const { 'content-length': ours, ...rest } = headers
  return isDeepStrictEqual(rest, expected) && ours === length?.split(', ')[0] ? undefined : 'has other headers'
}

describe('mutated blocks', () => {
  it('end in a result, the same as the plain decoder’s, and leave the table in step', () => {
    const random = randomNumbers(7541)
    const seen: Record<number, number> = {}
    const complaints: string[] = []
    let cases = 0
    while (cases < CASES) {
      const source = new RandomBlocks(random, LIMITS.maxTableBytes)
      const decoder = new RequestHeaderDecoder(LIMITS)
      const plain = new PlainDecoder(LIMITS.maxTableBytes)
      for (let nth = 0; nth < BLOCKS_A_CONNECTION; nth++) {
        cases++
        const block = mutate(source.next(12).block, random)
        const before = decoder.headers
        const result =
          random(8) === 0
            ? decoder.decodeTrailers(block, 0, block.length)
            : decoder.decodeRequest(block, 0, block.length)
        seen[result] = (seen[result] ?? 0) + 1
        const fields = plainly(plain, block)
        const problem = complaint(result, fields, decoder.headers === before ? undefined : allOf(decoder))
        if (problem !== undefined) complaints.push(`${Buffer.from(block).toString('hex')} ${problem}`)
        if (fields === undefined) break
      }
    }
    expect(complaints).toEqual([])
    // Each outcome came up often enough to mean something.
    for (const result of Object.values(HeaderResult)) expect(seen[result]).toBeGreaterThan(CASES / 100)
  })

  it('are what random bytes are, too', () => {
    const random = randomNumbers(9113)
    for (let nth = 0; nth < 5000; nth++) {
      const block = Uint8Array.from({ length: random(120) }, () => random(256))
      const result = new RequestHeaderDecoder(LIMITS).decodeRequest(block, 0, block.length)
      const fields = plainly(new PlainDecoder(LIMITS.maxTableBytes), block)
      expect(complaint(result, fields, undefined)).toBeUndefined()
    }
  })
})
