import { describe, expect, it } from '@jest/globals'
import { ImageSize } from './image-size.ts'

function sizeOf(...parts: readonly (Buffer | readonly number[] | string)[]): string {
  const size = new ImageSize()
  // What an earlier image left means nothing.
  for (const byte of jpeg(frame(9, 9))) size.push(byte)
  size.reset()
  for (const part of parts)
    for (const byte of typeof part === 'string' ? Buffer.from(part, 'latin1') : part) size.push(byte)
  return size.width === 0 ? 'unknown' : `${size.width}x${size.height}`
}

const be = (value: number, bytes: number) => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntBE(value, 0, bytes)
  return buffer
}
const le = (value: number, bytes: number) => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntLE(value, 0, bytes)
  return buffer
}

const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13])
const segment = (marker: number, content: Buffer) =>
  Buffer.concat([Buffer.of(0xff, marker), be(content.length + 2, 2), content])
const frame = (width: number, height: number, marker = 0xc0) =>
  segment(marker, Buffer.concat([Buffer.of(8), be(height, 2), be(width, 2), Buffer.of(3, 1, 0x22, 0)]))
const jpeg = (...segments: readonly Buffer[]) => Buffer.concat([Buffer.of(0xff, 0xd8), ...segments])
const riff = (chunk: string, content: Buffer) =>
  Buffer.concat([
    Buffer.from('RIFF\0\0\0\0WEBP', 'latin1'),
    Buffer.from(chunk),
    Buffer.alloc(4),
    content,
    Buffer.alloc(20),
  ])

describe('sizes of images', () => {
  it.each<[string, string, readonly Buffer[]]>([
    ['PNG', '800x600', [PNG, Buffer.from('IHDR'), be(800, 4), be(600, 4)]],
    ['a large PNG', '70000x1', [PNG, Buffer.from('IHDR'), be(70_000, 4), be(1, 4)]],
    ['GIF87a', '320x200', [Buffer.from('GIF87a'), le(320, 2), le(200, 2)]],
    ['GIF89a', '1x65535', [Buffer.from('GIF89a'), le(1, 2), le(65_535, 2)]],
    ['JPEG', '640x480', [jpeg(frame(640, 480))]],
    ['a progressive JPEG', '640x480', [jpeg(frame(640, 480, 0xc2))]],
    [
      'a JPEG with metadata, tables, fill bytes and an empty segment before',
      '4032x3024',
      [
        jpeg(
          segment(0xe1, Buffer.concat([jpeg(frame(160, 120)), Buffer.alloc(65_000, 0xff)])),
          segment(0xc4, Buffer.alloc(30, 0xc0)),
          segment(0xfe, Buffer.alloc(0)),
          Buffer.of(0xff, 0xff, 0xff),
          frame(4032, 3024).subarray(1),
        ),
      ],
    ],
    [
      'a lossy WebP',
      '550x368',
      [riff('VP8 ', Buffer.concat([Buffer.from([0x30, 1, 0, 0x9d, 1, 0x2a]), le(550, 2), le(368, 2)]))],
    ],
    [
      'one that is to be scaled',
      '550x368',
      [
        riff(
          'VP8 ',
          Buffer.concat([Buffer.from([0x30, 1, 0, 0x9d, 1, 0x2a]), le(550 | 0x4000, 2), le(368 | 0x8000, 2)]),
        ),
      ],
    ],
    [
      'a lossless WebP',
      '400x301',
      [riff('VP8L', Buffer.concat([Buffer.of(0x2f), le((400 - 1) | ((301 - 1) << 14), 4)]))],
    ],
    ['an extended WebP', '16384x2', [riff('VP8X', Buffer.concat([Buffer.alloc(4), le(16_383, 3), le(1, 3)]))]],
  ])('%s', (_name, expected, parts) => {
    expect(sizeOf(...parts)).toBe(expected)
    expect(sizeOf(...parts, Buffer.alloc(1000, 0xff), jpeg(frame(1, 1)))).toBe(expected)
  })

  it.each<[string, readonly (Buffer | string)[]]>([
    ['nothing', []],
    ['a text', ['This is no image, however long it is, and whatever it says.']],
    ['a PNG that breaks off', [PNG, Buffer.from('IHDR'), be(800, 4), be(600, 4).subarray(0, 3)]],
    ['a PNG that begins with another chunk', [PNG, Buffer.from('CgBI'), be(800, 4), be(600, 4), Buffer.alloc(30)]],
    ['a PNG without width', [PNG, Buffer.from('IHDR'), be(0, 4), be(600, 4), Buffer.alloc(30)]],
    ['a JPEG without frame', [jpeg(segment(0xe0, Buffer.alloc(14)), segment(0xda, Buffer.alloc(10)), frame(1, 1))]],
    ['a JPEG that is over', [jpeg(Buffer.of(0xff, 0xd9), frame(1, 1))]],
    ['a JPEG whose height comes later', [jpeg(frame(640, 0))]],
    ['a JPEG with a segment that is too short', [jpeg(Buffer.of(0xff, 0xe0, 0, 1), frame(1, 1))]],
    ['a WebP of an unknown kind', [riff('VP9 ', Buffer.alloc(20))]],
    ['another RIFF', [Buffer.concat([Buffer.from('RIFF\0\0\0\0WAVEVP8 ', 'latin1'), Buffer.alloc(40, 1)])]],
    ['a lossy WebP that does not begin with a key frame', [riff('VP8 ', Buffer.alloc(20, 1))]],
  ])('of %s: unknown', (_name, parts) => {
    expect(sizeOf(...parts)).toBe('unknown')
  })
})
