import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { MediaTokensPlan } from '../../media-tokens.ts'

/** 0: the default. */
const whole = z
  .int()
  .min(0)
  .max(1024 * 1024)
  .default(0)
const number = z.number().min(0).max(1_000_000).default(0)
const none = {}
const mode = <Mode extends string>(first: Mode, second: Mode) =>
  z.enum([first, second], `must be ${first} or ${second}`).default(first)
const resolution = object({ width: whole, height: whole }).prefault(none)

/** `token-producer`'s `estimate` (epp.md §3.6). */
export const mediaEstimate = object({
  image: object({
    mode: mode('dynamic', 'static'),
    defaultResolution: resolution,
    dynamic: object({ factor: whole }).prefault(none),
    static: object({ staticToken: whole }).prefault(none),
  }).prefault(none),
  video: object({
    defaultResolution: resolution,
    defaultDuration: number,
    maxVideoTokens: whole,
    tokensPerFrame: object({
      mode: mode('dynamic', 'static'),
      dynamic: object({ factor: whole }).prefault(none),
      static: object({ numTokensPerFrame: whole }).prefault(none),
    }).prefault(none),
    frames: object({
      mode: mode('sampled', 'strided'),
      minFrames: whole,
      maxFrames: whole,
      sampled: object({ sampleFPS: number, temporalPatchSize: whole }).prefault(none),
      strided: object({ defaultSourceFPS: number, frameStride: whole }).prefault(none),
    }).prefault(none),
  }).prefault(none),
})

const WIDTH = 640
const HEIGHT = 360
const PIXELS_PER_TOKEN = 1024

/** With llm-d's defaults for what is not given. */
export function mediaTokensPlan({ image, video }: z.output<typeof mediaEstimate>): MediaTokensPlan {
  const { tokensPerFrame, frames } = video
  const strided = frames.mode === 'strided'
  return {
    image: {
      tokens: image.mode === 'static' ? image.static.staticToken || 1 : 0,
      width: image.defaultResolution.width || WIDTH,
      height: image.defaultResolution.height || HEIGHT,
      pixelsPerToken: image.dynamic.factor || PIXELS_PER_TOKEN,
    },
    video: {
      frameTokens: tokensPerFrame.mode === 'static' ? tokensPerFrame.static.numTokensPerFrame || 1 : 0,
      width: video.defaultResolution.width || WIDTH,
      height: video.defaultResolution.height || HEIGHT,
      pixelsPerToken: tokensPerFrame.dynamic.factor || PIXELS_PER_TOKEN,
      seconds: video.defaultDuration || 10,
      strided,
      framesPerSecond: strided ? frames.strided.defaultSourceFPS || 24 : frames.sampled.sampleFPS || 2,
      stride: frames.strided.frameStride || 1,
      merged: frames.sampled.temporalPatchSize || 1,
      minFrames: frames.minFrames,
      maxFrames: frames.maxFrames,
      maxTokens: video.maxVideoTokens,
    },
  }
}
