import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { TextCache } from './text-cache.ts'

describe('cached texts', () => {
  it('are what decoding gives, whatever came before', () => {
    const cache = new TextCache()
    const texts = fc.array(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.string({ maxLength: 80 })))
    fc.assert(
      fc.property(texts, fc.nat(5), (list, offset) => {
        for (const text of [...list, ...list]) {
          const bytes = Buffer.concat([Buffer.alloc(offset, 0x78), Buffer.from(text), Buffer.from('y')])
          expect(cache.text(bytes, offset, bytes.length - 1)).toBe(text)
        }
      }),
    )
  })

  it('keep apart texts that share an entry', () => {
    const cache = new TextCache()
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 5000; i++) {
        const bytes = Buffer.from(`model-${i}`)
        expect(cache.text(bytes, 0, bytes.length)).toBe(`model-${i}`)
      }
    }
  })

  it('do not follow a buffer that is written again', () => {
    const cache = new TextCache()
    const bytes = Buffer.from('before')
    expect(cache.text(bytes, 0, 6)).toBe('before')
    bytes.write('after!')
    expect(cache.text(bytes, 0, 6)).toBe('after!')
    bytes.write('before')
    expect(cache.text(bytes, 0, 6)).toBe('before')
  })

  it('read invalid UTF-8 as U+FFFD', () => {
    const cache = new TextCache()
    for (let i = 0; i < 2; i++) expect(cache.text(Buffer.from([0x61, 0xff]), 0, 2)).toBe('a\uFFFD')
  })
})
