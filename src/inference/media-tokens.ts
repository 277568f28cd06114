import { type HeaderView, headerName } from '../extproc/header-view.ts'

/** How many tokens images and videos have (llm-d's `token-producer`, `estimate`). Plain data; every size is given, numbers of 0 as they say. */
export interface MediaTokensPlan {
  readonly image: {
    /** Of every image; 0: by its pixels. */
    readonly tokens: number
    /** Where an image's own size is not known, in pixels. */
    readonly width: number
    readonly height: number
    readonly pixelsPerToken: number
  }
  readonly video: {
    /** Of every frame; 0: by its pixels. */
    readonly frameTokens: number
    readonly width: number
    readonly height: number
    readonly pixelsPerToken: number
    /** Where the request does not say. */
    readonly seconds: number
    /** Frames are taken from those of the source, one of `stride`; else so many a second, and `merged` are one. */
    readonly strided: boolean
    readonly framesPerSecond: number
    readonly stride: number
    readonly merged: number
    readonly minFrames: number
    /** 0 = any number. */
    readonly maxFrames: number
    /** 0 = any number. */
    readonly maxTokens: number
  }
}

/** Whatever a client says of its image or video. */
const MOST = 1024 * 1024

const SECONDS = headerName('x-llm-d-video-duration-seconds')
const RESOLUTION = headerName('x-llm-d-video-resolution')
const FPS = headerName('x-llm-d-video-fps')

/** `width`, `height`: 0 = not known. At least one. */
export function imageTokens({ image }: MediaTokensPlan, width: number, height: number): number {
  if (image.tokens > 0) return image.tokens
  const known = width > 0 && height > 0
  const pixels = known ? width * height : image.width * image.height
  return bounded(Math.floor(pixels / image.pixelsPerToken), MOST)
}

/** Of each video of a request: it tells by headers what they are like. At least one. */
export function videoTokens({ video }: MediaTokensPlan, headers: HeaderView): number {
  const tokens = framesOf(video, headers) * frameTokensOf(video, headers)
  return bounded(tokens, video.maxTokens === 0 ? MOST : Math.min(MOST, video.maxTokens))
}

function framesOf(video: MediaTokensPlan['video'], headers: HeaderView): number {
  const seconds = positive(headers.get(SECONDS)) ?? video.seconds
  const perSecond = (video.strided ? positive(headers.get(FPS)) : undefined) ?? video.framesPerSecond
  const frames = Math.floor(Math.floor(seconds * perSecond) / (video.strided ? video.stride : 1))
  const least = Math.max(frames, video.minFrames)
  const most = video.maxFrames === 0 ? least : Math.min(least, video.maxFrames)
  return Math.floor(most / (video.strided ? 1 : video.merged))
}

function frameTokensOf(video: MediaTokensPlan['video'], headers: HeaderView): number {
  if (video.frameTokens > 0) return video.frameTokens
  const [, width, height] = /^\s*(\d{1,9})\s*[xX]\s*(\d{1,9})\s*$/.exec(headers.get(RESOLUTION) ?? '') ?? []
  const told = Number(width ?? 0) * Number(height ?? 0)
  return bounded(Math.floor((told > 0 ? told : video.width * video.height) / video.pixelsPerToken), MOST)
}

function bounded(tokens: number, most: number): number {
  return Math.max(1, Math.min(tokens, most))
}

function positive(text: string | undefined): number | undefined {
  const number = Number(text ?? Number.NaN)
  return number > 0 && Number.isFinite(number) ? number : undefined
}
