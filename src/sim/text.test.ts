import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { StopStrings } from './stop-strings.ts'
import { TextGenerator } from './text-generator.ts'
import { MAX_TOKEN_BYTES, pieces, pieceToken, TokenBuffer } from './tokenizer.ts'

const tokens = (text: string) => [...new TokenBuffer().text(text).view()]

describe('tokenizer', () => {
  it('has about 4 bytes a token in English', () => {
    const text =
      'The quick brown fox jumps over the lazy dog, and nobody in the whole town was in the least surprised by it.'
    expect(text.length / tokens(text).length).toBeGreaterThan(3.5)
    expect(text.length / tokens(text).length).toBeLessThan(5)
  })

  it('is at home in every text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        const bytes = Buffer.byteLength(text)
        const count = tokens(text).length
        expect(count).toBeLessThanOrEqual(bytes)
        expect(count).toBeGreaterThanOrEqual(bytes / MAX_TOKEN_BYTES)
      }),
    )
  })

  it('keeps the tokens of a text when a sentence is appended', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (head, tail) => {
        expect(tokens(`${head} ${tail}`).slice(0, tokens(head).length)).toEqual(tokens(head))
      }),
    )
  })

  it('cuts ASCII text as it counts it', () => {
    const ascii = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\n', '.', 'word ') })
    fc.assert(
      fc.property(ascii, text => {
        expect(pieces(text).join('')).toBe(text)
        expect(pieces(text).map(pieceToken)).toEqual(tokens(text))
      }),
    )
  })
})

describe('generated text', () => {
  const text = (seed: number, length: number) => {
    const generator = new TextGenerator(seed)
    return Array.from({ length }, (_, i) => generator.piece(i)).join('')
  }

  it('depends on the seed and on nothing else', () => {
    expect(text(1, 200)).toBe(text(1, 200))
    expect(text(1, 200)).not.toBe(text(2, 200))
    expect(text(1, 50)).toMatch(/^[A-Z][a-z]+( [A-Za-z]+)+\./)
  })

  it('has the tokens that a prompt with the same text would have', () => {
    const generator = new TextGenerator(3)
    const ids = Array.from({ length: 120 }, (_, i) => generator.token(i))
    expect(tokens(text(3, 120))).toEqual(ids)
  })
})

describe('stop strings', () => {
  it('lets out the same text however it is cut', () => {
    const letters = fc.constantFrom('a', 'b', 'c')
    const stops = fc.array(fc.string({ unit: letters, minLength: 1, maxLength: 4 }), { maxLength: 3 })
    fc.assert(
      fc.property(fc.array(fc.string({ unit: letters, maxLength: 4 })), stops, (parts, list) => {
        const output = new StopStrings(list, false)
        let text = ''
        for (const [i, part] of parts.entries()) text += output.push(part, i === parts.length - 1)
        // The stop string that is complete first, found by adding one part after the other.
        let expected = parts.join('')
        for (let n = 1; n <= parts.length; n++) {
          const seen = parts.slice(0, n).join('')
          const at = list.map(stop => seen.indexOf(stop)).filter(index => index >= 0)
          if (at.length === 0) continue
          expected = seen.slice(0, Math.min(...at))
          break
        }
        expect(text).toBe(expected)
      }),
    )
  })

  it('includes the stop string when asked to', () => {
    const output = new StopStrings(['END'], true)
    expect(output.push('one EN', false)).toBe('one ')
    expect(output.push('D two', false)).toBe('END')
    expect(output.found).toBe('END')
    expect(output.push('three', true)).toBe('')
  })
})
