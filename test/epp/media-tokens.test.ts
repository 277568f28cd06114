import { describe, expect, it } from '@jest/globals'
import { destination } from './picker-answer.ts'
import { address, PickerRig, pod } from './picker-rig.ts'

/** Endpoint 0 has short contexts, endpoint 1 long ones. */
const config = (tokens: string) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: token-load-scorer
- type: prefix-cache-scorer
- type: inflight-load-producer
- { type: token-producer, parameters: ${tokens} }
schedulingProfiles:
- name: default
  plugins: [{ pluginRef: token-load-scorer }]
`
const ESTIMATE = config('{ estimate: {} }')
const STATIC = config('{ estimate: { image: { mode: static, static: { staticToken: 2000 } } } }')
const PLAIN = config('{}')

function png(width: number, height: number, bytes: number): string {
  const file = Buffer.alloc(bytes, 7)
  file.write('\u0089PNG\r\n\u001a\n\0\0\0\rIHDR', 'latin1')
  file.writeUInt32BE(width, 16)
  file.writeUInt32BE(height, 20)
  return `data:image/png;base64,${file.toString('base64')}`
}

function ask(
  rig: PickerRig,
  part: unknown,
  headers: Readonly<Record<string, string>> = {},
  pieces = 1,
): string | number {
  const text = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: [part] }] })
  const length = Math.ceil(text.length / pieces)
  const body = Array.from({ length: pieces }, (_, i) => text.slice(i * length, (i + 1) * length))
  return destination(rig.send({ path: '/v1/chat/completions', headers, body }))
}
const image = (url: string) => ({ type: 'image_url', image_url: { url } })
const video = { type: 'video_url', video_url: { url: 'https://a/1.mp4' } }
const text = (tokens: number) => ({ type: 'text', text: 'x '.repeat(tokens * 2) })

/** Whether a request with this part has more tokens than a text of so many. */
function isLargerThan(tokens: number, part: unknown, configuration: string, headers = {}, pieces = 1): boolean {
  const rig = new PickerRig([pod(0, 0), pod(0, 0)], configuration)
  const first = ask(rig, part, headers, pieces)
  const second = ask(rig, text(tokens))
  expect(new Set([first, second])).toEqual(new Set([address(0), address(1)]))
  // The next one goes to who has less to do.
  return ask(rig, text(1)) === second
}

describe('images and videos count by their size (token-producer: estimate)', () => {
  it.each<[string, number, number, unknown, string]>([
    ['a large file of a small image', 50, 120, image(png(320, 240, 90_000)), ESTIMATE],
    ['a small file of a large image', 1100, 1350, image(png(1280, 960, 100)), ESTIMATE],
    ['an image that is elsewhere', 180, 300, image('https://a/1.png'), ESTIMATE],
    ['each image alike', 1900, 2100, image(png(1280, 960, 100)), STATIC],
    ['a video', 4400, 4600, video, ESTIMATE],
  ])('%s: more than %s, less than %s', (_name, least, most, part, configuration) => {
    for (const pieces of [1, 100]) {
      expect(isLargerThan(least, part, configuration, {}, pieces)).toBe(true)
      expect(isLargerThan(most, part, configuration, {}, pieces)).toBe(false)
    }
  })

  it('unless nobody asks: base64 is a text', () => {
    expect(isLargerThan(5000, image(png(320, 240, 90_000)), PLAIN)).toBe(true)
  })

  it('of a video the request tells what it is like', () => {
    const headers = { 'x-llm-d-video-duration-seconds': '2', 'x-llm-d-video-resolution': '320x240' }
    expect(isLargerThan(250, video, ESTIMATE, headers)).toBe(true)
    expect(isLargerThan(400, video, ESTIMATE, headers)).toBe(false)
  })

  it('tell prompts apart, and are found again', () => {
    const cached = ESTIMATE.replace('[{ pluginRef: token-load-scorer }]', '[{ pluginRef: prefix-cache-scorer }]')
    const rig = new PickerRig(
      [0, 1, 2, 3].map(() => pod(0, 0)),
      cached,
    )
    const homes = Array.from({ length: 8 }, (_, i) => [i, ask(rig, image(`https://a/${i}.png`))] as const)
    expect(new Set(homes.map(([, home]) => home)).size).toBeGreaterThan(1)
    for (const [i, home] of homes) expect(ask(rig, image(`https://a/${i}.png`))).toBe(home)
  })
})
