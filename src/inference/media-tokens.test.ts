import { describe, expect, it } from '@jest/globals'
import { headersOf } from './scheduling/plugins/testing.ts'
import { imageTokens, videoTokens } from './media-tokens.ts'
import { mediaEstimate, mediaTokensPlan } from './scheduling/plugins/media-estimate.ts'

const planOf = (estimate: unknown) => mediaTokensPlan(mediaEstimate.parse(estimate))

describe('tokens of an image (llm-d: token-producer, estimate.image)', () => {
  it.each<[string, unknown, number, number, number]>([
    ['the default size', {}, 0, 0, 225],
    ['its own size', {}, 1024, 768, 768],
    ['at least one', {}, 10, 10, 1],
    ['another default', { image: { defaultResolution: { width: 1024, height: 1024 } } }, 0, 0, 1024],
    ['half of one', { image: { defaultResolution: { width: 1280 } } }, 0, 0, 450],
    ['another factor', { image: { dynamic: { factor: 784 } } }, 280, 280, 100],
    ['the same for all', { image: { mode: 'static', static: { staticToken: 256 } } }, 1024, 768, 256],
    ['the same for all, not said', { image: { mode: 'static' } }, 1024, 768, 1],
    ['the other mode’s number', { image: { static: { staticToken: 256 } } }, 0, 0, 225],
    ['an absurd size', {}, 0xffffffff, 0xffffffff, 1024 * 1024],
  ])('%s', (_name, estimate, width, height, expected) => {
    expect(imageTokens(planOf(estimate), width, height)).toBe(expected)
  })
})

describe('tokens of a video (llm-d: token-producer, estimate.video)', () => {
  const STATIC = { tokensPerFrame: { mode: 'static', static: { numTokensPerFrame: 1 } } }
  const merged = { ...STATIC, frames: { minFrames: 4, sampled: { sampleFPS: 2, temporalPatchSize: 2 } } }
  const strided = (more: object) => ({ ...STATIC, frames: { mode: 'strided', ...more } })
  const D = 'x-llm-d-video-duration-seconds'
  const R = 'x-llm-d-video-resolution'
  const F = 'x-llm-d-video-fps'

  it.each<[string, object, Readonly<Record<string, string>>, number]>([
    ['defaults: ten seconds, two frames a second', {}, {}, 20 * 225],
    ['what the request says', {}, { [D]: '3', [R]: '320x240' }, 6 * 75],
    ['at most', { maxVideoTokens: 100 }, { [D]: '3', [R]: '320x240' }, 100],
    ['part of a frame', {}, { [D]: '0.4' }, 1],
    ['frames in pairs', merged, { [D]: '10' }, 10],
    ['at least so many frames, in pairs', merged, { [D]: '1' }, 2],
    ['at most so many frames', { ...STATIC, frames: { maxFrames: 7 } }, {}, 7],
    ['the source’s own frames', strided({}), {}, 240],
    ['every eighth of them', strided({ strided: { frameStride: 8 } }), {}, 30],
    ['of a slow source', strided({ strided: { frameStride: 8, defaultSourceFPS: 12 } }), {}, 15],
    [
      'which the request knows better',
      strided({ strided: { frameStride: 8, defaultSourceFPS: 12 } }),
      { [F]: '25.5', [D]: '1.5' },
      4,
    ],
    ['sampling does not go by the source', STATIC, { [F]: '60' }, 20],
    ['within bounds', strided({ minFrames: 300, maxFrames: 310 }), {}, 300],
    ['a duration by default', { ...STATIC, defaultDuration: 2.5 }, {}, 5],
    [
      'a frame’s pixels',
      { tokensPerFrame: { dynamic: { factor: 2048 } }, frames: { maxFrames: 1 } },
      { [R]: '1024X2' },
      1,
    ],
    ['a default resolution', { defaultResolution: { width: 1024, height: 2 }, frames: { maxFrames: 1 } }, {}, 2],
    ['a static number that is not said', { tokensPerFrame: { mode: 'static' } }, {}, 20],
    ['nonsense is passed over', STATIC, { [D]: '-3', [R]: '0x9', [F]: 'fast' }, 20],
    ['and absurdity bounded', {}, { [D]: '1e300', [R]: '999999999x999999999' }, 1024 * 1024],
  ])('%s', (_name, video, headers, expected) => {
    const view = headersOf(headers)
    expect(videoTokens(planOf({ video }), view)).toBe(expected)
  })
})
