/** Header sections that are small on the wire and large behind it, or simply too large. */
import { describe, expect, it } from '@jest/globals'
import { ErrorCode, continuation, headers, openHeaders } from '../frames.ts'
import { ended } from '../harness.ts'
import type { Harness } from '../harness.ts'
import { END_HEADERS, END_STREAM, headerBlock, hpackString } from '../raw-http2-client.ts'
import type { RawHttp2Client } from '../raw-http2-client.ts'
import { bytesInUse, bytesKeptSince } from '../kept-memory.ts'
import { besides, callBlock, exchange, goawayCode, over, resetCode } from './bystander.ts'

const { COMPRESSION_ERROR, ENHANCE_YOUR_CALM } = ErrorCode
const MIB = 1024 * 1024
/** Index 62, the newest entry of the dynamic table, as an indexed field. */
const NEWEST = 0xbe

export function headerBombsSuite(name: string, harness: Harness): void {
  const { path } = harness.echo

  /** A literal that goes into the dynamic table. */
  const indexed = (field: string, value: string): Buffer =>
    Buffer.concat([Buffer.from([0x40]), hpackString(field), hpackString(value)])

  /** The stream was refused: reset, or answered without its method having been called. */
  async function refused(client: RawHttp2Client, stream: number): Promise<void> {
    const calls = harness.echo.opened.length
    await client.until(() => resetCode(client, stream) !== undefined || ended(client, stream))
    expect(harness.echo.opened).toHaveLength(calls)
  }

  describe(`${name}: header sections that are too large`, () => {
    it('thousands of references to one long field', async () => {
      const server = await harness.serve([harness.echo])
      await besides(harness, server, async () => {
        const client = await harness.raw(server)
        client.write(headers(1, Buffer.concat([callBlock(path), indexed('x', 'y'.repeat(4000))]), END_STREAM))
        await client.until(() => ended(client, 1))
        const atRest = bytesInUse()
        // 16,000 × 4,000 bytes in a block of 16 KB, and again, and again.
        const bomb = Buffer.concat([callBlock(path), Buffer.alloc(16_000, NEWEST)])
        for (let stream = 3; stream < 103; stream += 2) client.write(headers(stream, bomb, END_STREAM))
        await client.until(() => resetCode(client, 101) !== undefined || ended(client, 101))
        expect(await bytesKeptSince(atRest, 16 * MIB)).toBeLessThan(16 * MIB)
        expect(resetCode(client, 3)).toBe(ENHANCE_YOUR_CALM)
        // The header table is in step.
        client.write(headers(103, Buffer.concat([callBlock(path), Buffer.from([NEWEST])]), END_STREAM))
        await client.until(() => ended(client, 103))
        expect(harness.echo.opened.filter(call => call.headers['x'] === 'y'.repeat(4000))).toHaveLength(2)
      })
    })

    it.each([
      ['too many fields', headerBlock(Array.from({ length: 300 }, (_, index) => [`x${index}`, '1'] as const))],
      ['one field that is too long', headerBlock([['x', 'y'.repeat(9000)]])],
      [
        'fields that are too long together',
        headerBlock(Array.from({ length: 100 }, () => ['cookie', 'y'.repeat(60)] as const)),
      ],
    ])('%s: the stream is refused, the connection lives', async (_, more) => {
      const server = await harness.serve([harness.echo], { maxHeaderListBytes: 8192 })
      const client = await harness.raw(server)
      client.write(headers(1, Buffer.concat([callBlock(path), more])))
      await refused(client, 1)
      await exchange(client, 3, path)
    })

    it('what a refused section put into the table is there', async () => {
      const server = await harness.serve([harness.echo], { maxHeaderListBytes: 4096 })
      const client = await harness.raw(server)
      client.write(
        headers(1, Buffer.concat([callBlock(path), headerBlock([['x', 'y'.repeat(5000)]]), indexed('z', 'kept')])),
      )
      await refused(client, 1)
      client.write(headers(3, Buffer.concat([callBlock(path), Buffer.from([NEWEST])]), END_STREAM))
      await client.until(() => ended(client, 3))
      expect(harness.echo.last.headers['z']).toBe('kept')
    })

    it('trailers that are too long', async () => {
      const server = await harness.serve([harness.echo], { maxHeaderListBytes: 4096 })
      const client = await harness.raw(server)
      client.write(headers(1, callBlock(path)), headers(1, headerBlock([['x', 'y'.repeat(5000)]]), END_STREAM))
      await client.until(() => resetCode(client, 1) !== undefined)
      await exchange(client, 3, path)
    })

    it('a block that is too long even compressed ends the connection', async () => {
      const server = await harness.serve([harness.echo])
      await besides(harness, server, async () => {
        const client = await harness.raw(server)
        const piece = headerBlock([['x', 'y'.repeat(16_000)]])
        client.write(openHeaders(1, callBlock(path)))
        for (let index = 0; index < 20; index++) client.write(continuation(1, piece, index === 19 ? END_HEADERS : 0))
        await over(client)
        expect(goawayCode(client)).toBe(ENHANCE_YOUR_CALM)
      })
    })

    it.each([
      ['an integer without an end', Buffer.from([0xff, ...Array.from({ length: 40 }, () => 0x80)])],
      ['an integer of more than 32 bits', Buffer.from('ffffffffffffff7f', 'hex')],
      ['a string longer than its block', Buffer.from('007fffff7f', 'hex')],
      ['three table size updates', Buffer.from('202020', 'hex')],
    ])('%s', async (_, block) => {
      const server = await harness.serve([harness.echo])
      const client = await harness.raw(server)
      client.write(headers(1, block, END_STREAM))
      await over(client)
      expect(goawayCode(client)).toBe(COMPRESSION_ERROR)
    })
  })
}
