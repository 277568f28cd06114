/** Peers that send much and ask for nothing. */
import { describe, expect, it } from '@jest/globals'
import {
  ErrorCode,
  continuation,
  data,
  headers,
  openHeaders,
  paddedData,
  ping,
  priority,
  settings,
  windowUpdate,
} from '../frames.ts'
import type { Harness } from '../harness.ts'
import { END_STREAM, FrameType, frame, resetFrame } from '../raw-http2-client.ts'
import { bytesInUse, bytesKeptSince } from '../kept-memory.ts'
import { besides, callBlock, exchange, flood, goawayCode, over, repeat } from './bystander.ts'

const { CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR } = ErrorCode
const MIB = 1024 * 1024

/** `trusting`: its peers are known gateways; `wary`: anybody. */
export function floodsSuite(name: string, trusting: Harness, wary: Harness): void {
  const { path } = trusting.echo

  /** `count` times the frames that `make` gives for a stream, in pieces. */
  function* streams(count: number, make: (stream: number) => Uint8Array): Generator<Buffer> {
    for (let from = 0; from < count; from += 500) {
      const size = Math.min(500, count - from)
      yield Buffer.concat(Array.from({ length: size }, (_, at) => make(2 * (from + at) + 1)))
    }
  }

  describe(`${name}: streams that are reset at once`, () => {
    const block = callBlock(path)
    const resetting = (stream: number): Buffer =>
      Buffer.concat([headers(stream, block), resetFrame(stream, INTERNAL_ERROR)])

    it('40,000 of a gateway are taken: Envoy ends every stream so', async () => {
      const server = await trusting.serve([trusting.echo])
      await besides(trusting, server, async () => {
        const client = await trusting.raw(server)
        for (const piece of streams(40_000, resetting)) await flood(client, piece, piece.length)
        await exchange(client, 80_001, path)
        expect(goawayCode(client)).toBeUndefined()
        expect(server.streams).toBeLessThanOrEqual(1)
      })
    })

    it('anybody else is told to calm down', async () => {
      const server = await wary.serve([wary.echo])
      await besides(wary, server, async () => {
        const client = await wary.raw(server)
        for (const piece of streams(40_000, resetting)) await flood(client, piece, piece.length)
        await over(client)
        expect(goawayCode(client)).toBe(ENHANCE_YOUR_CALM)
        expect(server.streams).toBeLessThanOrEqual(1)
      })
    })

    it.each([
      ['by WINDOW_UPDATEs of 0', (stream: number) => Buffer.concat([headers(stream, block), windowUpdate(stream, 0)])],
      ['by PRIORITY to itself', (stream: number) => Buffer.concat([headers(stream, block), priority(stream, stream)])],
      [
        'by more DATA than announced',
        (stream: number) =>
          Buffer.concat([headers(stream, callBlock(path, { 'content-length': '1' })), data(stream, Buffer.alloc(2))]),
      ],
      [
        'by trailers that do not end',
        (stream: number) => Buffer.concat([headers(stream, block), headers(stream, Buffer.alloc(0))]),
      ],
    ])('nor may anybody else make us reset them: %s', async (_, make) => {
      const server = await wary.serve([wary.echo])
      await besides(wary, server, async () => {
        const client = await wary.raw(server)
        for (const piece of streams(40_000, make)) await flood(client, piece, piece.length)
        await over(client)
        expect(goawayCode(client)).toBe(ENHANCE_YOUR_CALM)
      })
    })

    it('who ends its streams may open as many as it likes', async () => {
      const server = await wary.serve([wary.echo])
      const client = await wary.raw(server)
      for (const piece of streams(20_000, stream => headers(stream, block, END_STREAM))) {
        await flood(client, piece, piece.length)
        await client.until(() => client.of(FrameType.HEADERS).length === 500)
        client.frames.length = 0
      }
      await exchange(client, 40_001, path)
    })
  })

  describe(`${name}: frames without an end`, () => {
    const open = headers(1, callBlock(path))
    const cases: readonly (readonly [string, Buffer, Buffer])[] = [
      ['empty CONTINUATION', openHeaders(1, Buffer.alloc(0)), continuation(1, Buffer.alloc(0))],
      ['full CONTINUATION', openHeaders(1, Buffer.alloc(0)), continuation(1, Buffer.alloc(16_384))],
      ['empty DATA', open, data(1, Buffer.alloc(0))],
      ['DATA of nothing but padding', open, paddedData(1, Buffer.alloc(0), 0)],
      ['PRIORITY', open, priority(5, 3)],
      ['WINDOW_UPDATE', open, windowUpdate(0, 1)],
      ['unknown frames', open, frame(0x42, 0, 0)],
      ['RST_STREAM of a closed stream', Buffer.concat([open, resetFrame(1, CANCEL)]), resetFrame(1, CANCEL)],
      ['SETTINGS', open, settings([4, 65_535])],
      ['PING', open, ping()],
    ]

    it.each(cases)('%s: anybody is told to calm down', async (_, before, again) => {
      const server = await wary.serve([wary.echo])
      await besides(wary, server, async () => {
        const client = await wary.raw(server)
        client.write(before)
        await flood(client, repeat(again, 200), 40_000 * again.length)
        await over(client)
        expect(goawayCode(client)).toBe(ENHANCE_YOUR_CALM)
        expect(server.streams).toBeLessThanOrEqual(1)
      })
    })

    it.each(cases)('%s, answers unread: memory is bounded, whoever it is', async (_, before, again) => {
      const server = await trusting.serve([trusting.echo])
      await besides(trusting, server, async () => {
        const client = await trusting.raw(server)
        await client.until(() => client.of(FrameType.SETTINGS).length === 2)
        client.socket.pause()
        const atRest = bytesInUse()
        client.write(before)
        await flood(client, repeat(again, 200), 1_000_000 * again.length)
        expect(await bytesKeptSince(atRest, 24 * MIB)).toBeLessThan(24 * MIB)
      })
    })

    it('refused calls, answers unread', async () => {
      const server = await trusting.serve([trusting.echo])
      await besides(trusting, server, async () => {
        const client = await trusting.raw(server)
        await client.until(() => client.of(FrameType.SETTINGS).length === 2)
        client.socket.pause()
        const atRest = bytesInUse()
        // The answer names the method.
        const block = callBlock(`/${'m'.repeat(2000)}`)
        let sent = 0
        for (const piece of streams(50_000, stream => headers(stream, block, END_STREAM)))
          sent += await flood(client, piece, piece.length)
        expect(client.closed).toBe(true)
        expect(sent).toBeLessThan(90 * MIB)
        expect(await bytesKeptSince(atRest, 24 * MIB)).toBeLessThan(24 * MIB)
      })
    })
  })
}
