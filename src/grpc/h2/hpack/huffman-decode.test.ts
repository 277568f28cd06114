import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { huffmanCodes } from './huffman-code.ts'
import { decodeHuffman } from './huffman-decode.ts'
import { plainHuffmanDecode, plainHuffmanEncode } from './plain-hpack.testing.ts'

const target = Buffer.alloc(4096)

function decode(bytes: Uint8Array): string | undefined {
  const length = decodeHuffman(bytes, 0, bytes.length, target)
  return length < 0 ? undefined : target.toString('latin1', 0, length)
}

function bits(...codes: string[]): Uint8Array {
  const digits = codes.join('')
  return Uint8Array.from({ length: digits.length / 8 }, (_, at) => Number.parseInt(digits.slice(at * 8, at * 8 + 8), 2))
}

describe('the code', () => {
  it('is complete', () => {
    const codes = huffmanCodes()
    expect(codes).toHaveLength(257)
    expect(codes.reduce((sum, code) => sum + 2 ** -code.bits, 0)).toBe(1)
  })

  // A few of appendix B's lines.
  it.each([
    [0, 13, 0x1ff8],
    [0x20, 6, 0x14],
    [0x30, 5, 0x0],
    [0x61, 5, 0x3],
    [0x7c, 11, 0x7fc],
    [0xa1, 21, 0x1fffdd],
    [0xf9, 28, 0xffffffe],
    [0xff, 26, 0x3ffffee],
    [256, 30, 0x3fffffff],
  ])('octet %d: %d bits, %d', (symbol, length, code) => {
    expect(huffmanCodes().find(line => line.symbol === symbol)).toEqual({ symbol, bits: length, code })
  })
})

describe('decodeHuffman', () => {
  it('knows every octet, at every position of a byte', () => {
    for (let octet = 0; octet < 256; octet++)
      for (let shift = 0; shift < 8; shift++) {
        const text = `${'0'.repeat(shift)}${String.fromCharCode(octet)}x`
        expect(decode(plainHuffmanEncode(text))).toBe(text)
      }
  })

  it('agrees with a bit by bit decoder on any bytes', () => {
    // Ones in front, so that long codes and EOS come up.
    const bytes = fc.tuple(fc.integer({ min: 0, max: 6 }), fc.uint8Array({ maxLength: 60 }))
    fc.assert(
      fc.property(bytes, ([ones, rest]) => {
        const all = Uint8Array.from([...Buffer.alloc(ones, 0xff), ...rest])
        let expected: string | undefined
        try {
          expected = plainHuffmanDecode(all)
        } catch {
          expected = undefined
        }
        expect(decode(all)).toBe(expected)
      }),
      { numRuns: 2000 },
    )
  })

  it('allows up to 7 ones of padding', () => {
    // Five bits a zero, so eight of them come by every length of padding.
    for (let zeros = 1; zeros <= 8; zeros++) {
      const padding = (8 - ((zeros * 5) % 8)) % 8
      expect(decode(bits('00000'.repeat(zeros), '1'.repeat(padding)))).toBe('0'.repeat(zeros))
      // Anything else there is another string or none.
      for (let wrong = 0; wrong < 2 ** padding - 1; wrong++) {
        const text = decode(bits('00000'.repeat(zeros), wrong.toString(2).padStart(padding, '0')))
        expect(text).not.toBe('0'.repeat(zeros))
      }
    }
  })

  it.each([
    ['a whole byte of padding', bits('00000', '111', '11111111')],
    ['only padding', bits('11111111')],
    ['a zero in the padding', bits('00000', '110')],
    ['zeros for padding', bits('00000', '000')],
    ['EOS', bits('1'.repeat(30), '11')],
    ['EOS behind an octet', bits('00011', '1'.repeat(30), '11111')],
    ['EOS before an octet', bits('1'.repeat(30), '00011', '11111')],
    ['a code that was cut off', bits('11111111', '11000111').subarray(0, 1)],
  ])('%s is an error', (_, bytes) => {
    expect(decode(bytes)).toBeUndefined()
  })

  it('counts what has no room, and writes nothing behind its target', () => {
    const memory = Buffer.alloc(16, 0x55)
    const bytes = plainHuffmanEncode('0123456789')
    expect(decodeHuffman(bytes, 0, bytes.length, memory.subarray(0, 4))).toBe(10)
    expect(memory.toString('latin1', 0, 4)).toBe('0123')
    expect(memory.subarray(4)).toEqual(Buffer.alloc(12, 0x55))
  })

  it('reads nothing outside of its range', () => {
    const bytes = Uint8Array.from([0, ...plainHuffmanEncode('www.example.com'), 0])
    expect(decodeHuffman(bytes, 1, bytes.length - 1, target)).toBe(15)
    expect(decodeHuffman(bytes, 1, 1, target)).toBe(0)
  })
})
