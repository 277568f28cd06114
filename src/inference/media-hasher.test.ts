import { describe, expect, it } from '@jest/globals'
import { MediaHashes } from './media-hashes.ts'
import { MediaHasher } from './media-hasher.ts'

/** The hashes of what the messages have, read in pieces of this size. */
function hashesOf(messages: unknown, piece = Number.POSITIVE_INFINITY): string[] {
  const hashes = new MediaHashes()
  const hasher = new MediaHasher(hashes)
  const bytes = Buffer.from(JSON.stringify(messages))
  hasher.reset()
  for (let at = 0; at < bytes.length; at += piece) hasher.feed(bytes, at, Math.min(bytes.length, at + piece))
  return Array.from({ length: hashes.count }, (_, i) => `${hashes.words[2 * i]},${hashes.words[2 * i + 1]}`)
}

const user = (...content: unknown[]) => [{ role: 'user', content }]
const image = (url: string) => ({ type: 'image_url', image_url: { url } })
const BASE64 = `data:image/png;base64,${'QUJD'.repeat(20_000)}`

describe('hashes of media', () => {
  it.each<[string, unknown[], number]>([
    ['text alone', [{ type: 'text', text: '{"image_url": {"url": "x"}}' }], 0],
    ['an image', [image('https://a/1.png')], 1],
    ['two, one of them twice', [image('https://a/1.png'), image('https://a/2.png'), image('https://a/1.png')], 2],
    ['the responses API', [{ type: 'input_image', image_url: 'https://a/1.png' }], 1],
    ['audio', [{ type: 'input_audio', input_audio: { data: 'QUJD', format: 'wav' } }], 1],
    ['a video', [{ type: 'video_url', video_url: { url: 'https://a/1.mp4' } }], 1],
    ['Anthropic', [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'QUJD' } }], 1],
    ['a detail beside the URL', [{ type: 'image_url', image_url: { detail: 'low', url: 'https://a/1.png' } }], 1],
    [
      'a URL that is none',
      [
        { type: 'image_url', image_url: { url: 7 } },
        { type: 'text', text: 'x' },
      ],
      0,
    ],
    ['an empty one', [image('')], 0],
  ])('%s', (_, content, count) => {
    const whole = hashesOf(user(...content))
    expect(whole).toHaveLength(count)
    for (const piece of [1, 2, 7]) expect(hashesOf(user(...content), piece)).toEqual(whole)
  })

  it('are those of the text, wherever it stands', () => {
    const [one] = hashesOf(user(image('https://a/1.png')))
    expect(hashesOf(user({ type: 'text', text: 'hm' }, { type: 'input_image', image_url: 'https://a/1.png' }))).toEqual(
      [one],
    )
    expect(hashesOf(user(image('https://a/2.png')))).not.toEqual([one])
  })

  it('of long ones are told apart by their beginning and length, in any pieces', () => {
    const all = [BASE64, `${BASE64}QQ==`, BASE64.replace('QUJDQUJD', 'QUJDQUJE')].map(
      url => hashesOf(user(image(url)))[0],
    )
    expect(new Set(all).size).toBe(3)
    for (const piece of [1000, 32 * 1024, 33 * 1024 + 1]) expect(hashesOf(user(image(BASE64)), piece)).toEqual([all[0]])
    expect(hashesOf(user(image(BASE64), image(`a\\"b${BASE64}`), image('https://a/1.png')), 999)).toHaveLength(3)
  })

  it('are no more than there is room for', () => {
    const many = Array.from({ length: 200 }, (_, i) => image(`https://a/${i}.png`))
    expect(hashesOf(user(...many))).toHaveLength(MediaHashes.MOST)
  })
})
