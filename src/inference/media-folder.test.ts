import { describe, expect, it } from '@jest/globals'
import { MediaFolder } from './media-folder.ts'
import { mediaEstimate, mediaTokensPlan } from './scheduling/plugins/media-estimate.ts'

const PLAN = mediaTokensPlan(mediaEstimate.parse({}))
const VIDEO = 77

/** What is left of the messages: `[n]` for an image or video of n tokens. */
function folded(text: string, piece = Number.POSITIVE_INFINITY): string {
  let left = ''
  const folder = new MediaFolder({
    text: (chunk, start, end) => {
      left += Buffer.from(chunk.subarray(start, end)).toString()
    },
    media: (_hash, tokens) => {
      left += `[${tokens}]`
    },
  })
  // What an earlier request left means nothing.
  folder.reset(PLAN, 1)
  folder.feed(Buffer.from('{"image_url":"data:image/'), 0, 25)
  left = ''
  folder.reset(PLAN, VIDEO)
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += piece) folder.feed(bytes, at, Math.min(bytes.length, at + piece))
  return left
}

function hashesOf(...urls: readonly string[]): number[] {
  const hashes: number[] = []
  const folder = new MediaFolder({ text: () => {}, media: hash => hashes.push(hash) })
  folder.reset(PLAN, VIDEO)
  const bytes = Buffer.from(JSON.stringify(urls.map(url => ({ image_url: { url } }))))
  folder.feed(bytes, 0, bytes.length)
  return hashes
}

/** The beginning of a PNG of this size, and as much more. */
function png(width: number, height: number, more = 300): string {
  const bytes = Buffer.alloc(24 + more, 7)
  bytes.write('\u0089PNG\r\n\u001a\n', 'latin1')
  bytes.writeUInt32BE(13, 8)
  bytes.write('IHDR', 12)
  bytes.writeUInt32BE(width, 16)
  bytes.writeUInt32BE(height, 20)
  return bytes.toString('base64')
}
const SIZED = png(1024, 640)
const LONG = png(1024, 640, 300_000)
const url = (of: string, type = 'image/png') => `data:${type};base64,${of}`
const chat = (...content: readonly unknown[]) => JSON.stringify([{ role: 'user', content }])
const image = (of: string) => ({ type: 'image_url', image_url: { url: of } })

describe('folded messages', () => {
  it.each<[string, string, string]>([
    ['text alone', chat({ type: 'text', text: 'see "image_url"' }), chat({ type: 'text', text: 'see "image_url"' })],
    ['an image that is elsewhere', chat(image('https://a/1.png')), chat(image('[225]'))],
    ['one that is there', chat(image(url(SIZED))), chat(image('[640]'))],
    ['a long one', chat(image(url(LONG)), 'and'), chat(image('[640]'), 'and')],
    ['two', chat(image(url(SIZED)), image('https://a/1.png')), chat(image('[640]'), image('[225]'))],
    ['a type with parameters', chat(image(`data:image/png;name=base6;base64,${SIZED}`)), chat(image('[640]'))],
    [
      'a detail before it',
      chat({ image_url: { detail: 'low', url: url(SIZED) } }),
      chat({ image_url: { detail: 'low', url: '[640]' } }),
    ],
    [
      'the Responses API',
      chat({ type: 'input_image', image_url: url(SIZED) }),
      chat({ type: 'input_image', image_url: '[640]' }),
    ],
    [
      'Anthropic',
      chat({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: SIZED } }),
      chat({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: '[640]' } }),
    ],
    [
      'Anthropic, elsewhere',
      chat({ source: { type: 'url', url: 'https://a' } }),
      chat({ source: { type: 'url', url: '[225]' } }),
    ],
    [
      'a video',
      chat({ type: 'video_url', video_url: { url: url(SIZED) } }),
      chat({ type: 'video_url', video_url: { url: '[77]' } }),
    ],
    [
      'audio counts by its length',
      chat({ type: 'input_audio', input_audio: { data: SIZED, format: 'wav' } }, image(url(SIZED))),
      chat({ type: 'input_audio', input_audio: { data: SIZED, format: 'wav' } }, image('[640]')),
    ],
    ['an empty one', chat(image('')), chat(image(''))],
    ['slashes in escapes', chat(image(url(SIZED))).replaceAll('/', '\\/'), chat(image('[640]'))],
    ['lines', chat(image(`data:image/png;base64,${SIZED.slice(0, 20)}\r\n${SIZED.slice(20)}`)), chat(image('[640]'))],
    ['an unknown escape', chat(image(url(`\t${SIZED}`))), chat(image('[225]'))],
    ['no base64', chat(image(`data:image/png,${SIZED}`)), chat(image('[225]'))],
    ['no image', chat(image(url(SIZED, 'text/plain'))), chat(image('[225]'))],
    ['no end of the type', chat(image(`data:image/${'x'.repeat(1000)};base64,${SIZED}`)), chat(image('[225]'))],
    ['what is no image inside', chat(image(url('QUJD'.repeat(100)))), chat(image('[225]'))],
    ['what breaks off', chat(image(url(SIZED.slice(0, 30)))), chat(image('[225]'))],
  ])('%s', (_name, text, expected) => {
    expect(folded(text)).toBe(expected)
    for (const piece of [1, 2, 7, 1000]) expect(folded(text, piece)).toBe(expected)
  })

  it('tell images apart', () => {
    const [a, b, c, again] = hashesOf('https://a', 'https://b', url(SIZED), 'https://a')
    expect(new Set([a, b, c]).size).toBe(3)
    expect(again).toBe(a)
  })

  it('do not look for a size for ever', () => {
    const metadata = Buffer.concat([Buffer.of(0xff, 0xe1, 0xff, 0xff), Buffer.alloc(65_533)])
    const frame = Buffer.of(0xff, 0xc0, 0, 11, 8, 0x04, 0x00, 0x08, 0x00, 3, 1, 0x22, 0)
    const jpeg = (segments: number) =>
      url(
        Buffer.concat([Buffer.of(0xff, 0xd8), ...Array.from({ length: segments }, () => metadata), frame]).toString(
          'base64',
        ),
      )
    expect(folded(chat(image(jpeg(1))))).toBe(chat(image('[2048]')))
    expect(folded(chat(image(jpeg(2))))).toBe(chat(image('[225]')))
  })
})
