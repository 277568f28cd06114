import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { MediaScanner } from './media-scanner.ts'

const scanner = new MediaScanner()

function found(text: string, cuts: readonly number[] = []): boolean {
  const bytes = Buffer.from(text)
  scanner.reset()
  let from = 0
  for (const until of [...cuts.filter(cut => cut < bytes.length).sort((a, b) => a - b), bytes.length]) {
    scanner.feed(bytes, from, until)
    from = until
  }
  return scanner.found
}

const part = (content: unknown): string => JSON.stringify([{ role: 'user', content: [content] }])

const WITH = {
  image: part({ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }),
  'image without a type': part({ image_url: 'https://example.com/a.png' }),
  video: part({ type: 'video_url', video_url: { url: 'https://example.com/a.mp4' } }),
  audio: part({ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }),
  'responses API': part({ type: 'input_image', file_id: 'file-1' }),
  "Anthropic's": part({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } }),
  'after a long text': part({ text: 'x"\\'.repeat(5000), type: 'text' }).replace(
    '}]}]',
    '}, { "type" : "image_url" }]}]',
  ),
} as const

const WITHOUT = {
  text: part({ type: 'text', text: 'type' }),
  'plain content': '[{"role":"user","content":"image_url"}]',
  'plain content of one word': '[{"role":"user","content":"image"},{"role":"type","content":"video"}]',
  'a text about parts': part({ type: 'text', text: '{"type":"image_url","image_url":{"url":"x"}}' }),
  'a list of words': '[{"role":"user","tags":["type","image_url"]}]',
  'a type that is text': '[{"role":"user","content":[{"type":"text","text":"image"}]}]',
  'a longer word': part({ type: 'image_urls_of_mine' }),
  'an escaped word': '[{"type":"image\\u005furls"}]',
} as const

describe('finds', () => {
  it.each(Object.entries(WITH))('%s', (_, text) => expect(found(text)).toBe(true))
})

describe('does not take for one', () => {
  it.each(Object.entries(WITHOUT))('%s', (_, text) => expect(found(text)).toBe(false))
})

it('any split finds the same', () => {
  const texts = [...Object.entries(WITH), ...Object.entries(WITHOUT)].map(([, text]) => text)
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.array(fc.nat(400), { maxLength: 12 }), (text, cuts) => {
      expect(found(text, cuts)).toBe(found(text))
    }),
  )
  for (const text of texts.filter(({ length }) => length < 500)) {
    expect(
      found(
        text,
        Array.from({ length: text.length }, (_, i) => i),
      ),
    ).toBe(found(text))
  }
})
