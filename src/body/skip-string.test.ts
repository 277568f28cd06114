import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { skipString, STRING_OPEN, STRING_OPEN_IN_ESCAPE } from './skip-string.ts'
import { cutAt, cutPositions } from './testing.ts'

/** Position after the closing quote of the string that begins before `bytes`, byte by byte. */
function reference(bytes: Uint8Array): number {
  for (let p = 0; p < bytes.length; p += bytes[p] === 0x5c ? 2 : 1) if (bytes[p] === 0x22) return p + 1
  return -1
}

function skipChunks(chunks: readonly Uint8Array[]): number {
  let before = 0
  let inEscape = false
  for (const chunk of chunks) {
    if (chunk.length === 0) continue
    const after = skipString(chunk, 0, chunk.length, inEscape)
    if (after >= 0) return before + after
    expect([STRING_OPEN, STRING_OPEN_IN_ESCAPE]).toContain(after)
    inEscape = after === STRING_OPEN_IN_ESCAPE
    before += chunk.length
  }
  return -1
}

describe('skipString', () => {
  const run = (byte: string) => fc.nat(120).map(length => byte.repeat(length))
  const inside = fc.array(fc.oneof(run('x'), run('\\'), fc.constantFrom('\\"', '\\\\', 'é', '\\')), { maxLength: 12 })

  it('ends where a loop over the bytes ends, in any chunks', () => {
    fc.assert(
      fc.property(inside, fc.constantFrom('', '"', '"x"', '\\"'), cutPositions, (parts, end, cuts) => {
        const bytes = Buffer.from(parts.join('') + end)
        const expected = reference(bytes)
        expect(skipChunks([bytes])).toBe(expected)
        expect(skipChunks(cutAt(bytes, cuts))).toBe(expected)
      }),
      { numRuns: 500 },
    )
  })

  it('does not read beyond the end of a window', () => {
    fc.assert(
      fc.property(inside, fc.constantFrom(0, 1, 5000), fc.nat(400), (parts, after, length) => {
        const bytes = Buffer.from(`${parts.join('')}"${'"'.repeat(after)}`)
        const end = Math.max(1, Math.min(length, bytes.length))
        expect(skipString(bytes, 0, end, false)).toBe(skipString(bytes.subarray(0, end), 0, end, false))
      }),
    )
  })
})
