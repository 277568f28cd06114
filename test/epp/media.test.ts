import { describe, expect, it } from '@jest/globals'
import { destination } from './picker-answer.ts'
import { address, HERMETIC, PickerRig, pod } from './picker-rig.ts'

const CONFIG = HERMETIC.replace('- type: queue-scorer\n', '- type: mm-embeddings-cache-scorer\n')
const PODS = Array.from({ length: 4 }, () => pod(0, 0))

/** A chat about images, each time with another text in front of them. */
let asked = 0
function chat(...urls: readonly string[]) {
  const images = urls.map(url => ({ type: 'image_url', image_url: { url } }))
  const messages = [{ role: 'user', content: [{ type: 'text', text: `Request ${asked++}: what is this?` }, ...images] }]
  return { path: '/v1/chat/completions', body: JSON.stringify({ model: 'm', messages }) }
}

describe('images that an endpoint has seen (epp.md §3.3)', () => {
  it('lead there, whatever the text before them', () => {
    const rig = new PickerRig(PODS, CONFIG)
    const homes = Array.from({ length: 8 }, (_, i) => [i, destination(rig.send(chat(`https://a/${i}.png`)))] as const)
    expect(new Set(homes.map(([, home]) => home)).size).toBeGreaterThan(1)
    for (const [i, home] of homes) expect(destination(rig.send(chat(`https://a/${i}.png`)))).toBe(home)
  })

  it('lead to who has most of them, however the body is cut', () => {
    const rig = new PickerRig(PODS, CONFIG)
    const home = destination(rig.send(chat('https://a/1.png', 'https://a/2.png', 'https://a/3.png')))
    const { path, body } = chat('https://a/9.png', 'https://a/3.png', 'https://a/2.png')
    const bytes = Array.from(body, character => character)
    expect(destination(rig.send({ path, body: bytes }))).toBe(home)
  })

  it('are weighed against load', () => {
    const rig = new PickerRig([pod(0, 0), pod(0, 0)], `${CONFIG}- type: queue-scorer\n`)
    const home = destination(rig.send(chat('https://a/1.png')))
    const other = home === address(0) ? address(1) : address(0)
    rig.scrape([0, 1].map(i => (address(i) === home ? pod(20, 0.9) : pod(0, 0))))
    expect(destination(rig.send(chat('https://a/1.png')))).toBe(other)
  })
})
