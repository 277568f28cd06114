import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { jsonString, type Replacement, spliceChunk, spliceDelta } from './splice.ts'
import { cutAt, cutPositions, everySplit } from './testing.ts'

const body = Buffer.from('{"model":"old","n":1}')
const model: Replacement = { start: 9, end: 14, bytes: jsonString('a "new" one') }

function spliceAll(chunks: readonly Uint8Array[], replacements: readonly Replacement[]): string {
  let offset = 0
  const out = chunks.map((chunk, index) => {
    const edited = spliceChunk(chunk, offset, replacements, index === chunks.length - 1)
    offset += chunk.length
    return edited
  })
  return Buffer.concat(out).toString('latin1')
}

describe('spliceChunk', () => {
  it('replaces a value in any chunks', () => {
    for (const chunks of everySplit(body)) expect(spliceAll(chunks, [model])).toBe('{"model":"a \\"new\\" one","n":1}')
  })

  it('returns the chunk itself where nothing changes', () => {
    expect(spliceChunk(body, 0, [])).toBe(body)
    expect(spliceChunk(body, 14, [model])).toBe(body)
    expect(spliceChunk(body.subarray(0, 9), 0, [model])).toEqual(body.subarray(0, 9))
    const other = body.subarray(0, 9)
    expect(spliceChunk(other, 0, [model])).toBe(other)
    const empty = body.subarray(0, 0)
    expect(spliceChunk(empty, 9, [model])).toBe(empty)
  })

  it('puts the new bytes where the old ones start', () => {
    expect(Buffer.from(spliceChunk(body.subarray(0, 10), 0, [model])).toString()).toBe('{"model":"a \\"new\\" one"')
    expect(spliceChunk(body.subarray(10, 13), 10, [model])).toHaveLength(0)
    expect(Buffer.from(spliceChunk(body.subarray(13), 13, [model])).toString()).toBe(',"n":1}')
  })

  it('inserts at the end with the last chunk only, also an empty one', () => {
    const end: Replacement = { start: 3, end: 3, bytes: Buffer.from('!') }
    const chunk = Buffer.from('abc')
    expect(spliceChunk(chunk, 0, [end])).toBe(chunk)
    expect(Buffer.from(spliceChunk(chunk, 0, [end], true)).toString()).toBe('abc!')
    expect(Buffer.from(spliceChunk(chunk.subarray(3), 3, [end], true)).toString()).toBe('!')
  })

  it('is the string replacement of the whole, in any chunks', () => {
    const edits = fc.array(fc.record({ gap: fc.nat(6), length: fc.nat(6), text: fc.string({ maxLength: 5 }) }), {
      maxLength: 6,
    })
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), edits, cutPositions, (text, list, cuts) => {
        const bytes = Buffer.from(text, 'latin1')
        const replacements: Replacement[] = []
        let expected = ''
        let last = 0
        for (const edit of list) {
          const start = Math.min(last + edit.gap, bytes.length)
          const end = Math.min(start + edit.length, bytes.length)
          expected += bytes.toString('latin1', last, start) + edit.text
          replacements.push({ start, end, bytes: Buffer.from(edit.text, 'latin1') })
          last = end
        }
        expected += bytes.toString('latin1', last)
        expect(spliceAll(cutAt(bytes, cuts), replacements)).toBe(expected)
        expect(spliceDelta(replacements)).toBe(expected.length - bytes.length)
      }),
      { numRuns: 500 },
    )
  })
})

describe('spliceDelta', () => {
  const bytes = Buffer.alloc(0)
  it.each([
    [
      'overlapping',
      [
        { start: 0, end: 5, bytes },
        { start: 4, end: 6, bytes },
      ],
    ],
    [
      'out of order',
      [
        { start: 5, end: 6, bytes },
        { start: 0, end: 1, bytes },
      ],
    ],
    ['backwards', [{ start: 5, end: 4, bytes }]],
    ['absent', [{ start: -1, end: -1, bytes }]],
    ['fractional', [{ start: 0.5, end: 1, bytes }]],
  ])('refuses replacements that are %s', (_, replacements) => {
    expect(() => spliceDelta(replacements)).toThrow(RangeError)
  })
})

describe('jsonString', () => {
  it.each(['', 'm', 'a "b" \\ \n \u0000', 'é中😀', '\ud800'])('%j is read back', text => {
    expect(JSON.parse(Buffer.from(jsonString(text)).toString())).toBe(text)
  })
})
