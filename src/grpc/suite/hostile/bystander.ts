/** What the suites of hostile peers share: a well-behaved connection beside the attack, floods, and a look at memory. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from '@jest/globals'
import { frameMessage } from '../../framing.ts'
import type { TransportServer } from '../../transport.ts'
import { data, headers } from '../frames.ts'
import { ended, received } from '../harness.ts'
import type { Harness } from '../harness.ts'
import { END_STREAM, FrameType, grpcRequest, headerBlock } from '../raw-http2-client.ts'
import type { RawHttp2Client } from '../raw-http2-client.ts'

/** One of gRPC's echo calls on a connection. The client has nothing else to receive meanwhile. */
export async function exchange(client: RawHttp2Client, stream: number, path: string, text = 'hello'): Promise<void> {
  const message = Buffer.from(frameMessage(Buffer.from(text)))
  client.write(headers(stream, callBlock(path)), data(stream, message, END_STREAM))
  await client.until(() => ended(client, stream))
  expect(received(client, stream)).toEqual(message)
}

export function callBlock(path: string, more: Readonly<Record<string, string>> = {}): Buffer {
  return headerBlock(Object.entries({ ...grpcRequest(path), ...more }))
}

/**
 * Runs `attack` while another connection makes one call after the other. Each must succeed, at least one of them within a long attack, and
 * some behind it.
 */
export async function besides(harness: Harness, server: TransportServer, attack: () => Promise<void>): Promise<void> {
  const client = await harness.raw(server)
  const seen = { calls: 0, stop: false }
  const calling = (async () => {
    while (!seen.stop) {
      await exchange(client, 2 * seen.calls + 1, harness.echo.path)
      seen.calls++
      client.frames.length = 0
      await sleep(1)
    }
  })()
  const more = async (count: number): Promise<void> => {
    const enough = seen.calls + count
    while (seen.calls < enough) await Promise.race([sleep(2), calling])
  }
  try {
    await more(1)
    await attack()
    await more(2)
  } finally {
    seen.stop = true
    await calling
  }
}

/** Writes `chunk` again and again, as fast as the server reads, until `bytes` are out or the connection ends. Returns what went out. */
export async function flood(client: RawHttp2Client, chunk: Uint8Array, bytes: number): Promise<number> {
  const { socket } = client
  let sent = 0
  for (; sent < bytes && !client.closed && socket.writable; sent += chunk.length) {
    if (socket.write(chunk)) continue
    await new Promise<void>(resolve => {
      const go = (): void => {
        socket.off('drain', go)
        socket.off('close', go)
        resolve()
      }
      socket.once('drain', go)
      socket.once('close', go)
    })
  }
  return sent
}

export function repeat(frames: Uint8Array, times: number): Buffer {
  return Buffer.concat(Array.from({ length: times }, () => frames))
}

/** The last GOAWAY's code; undefined: none came. */
export function goawayCode(client: RawHttp2Client): number | undefined {
  return client.of(FrameType.GOAWAY).at(-1)?.payload.readUInt32BE(4)
}

export function resetCode(client: RawHttp2Client, stream: number): number | undefined {
  return client.of(FrameType.RST_STREAM, stream).at(-1)?.payload.readUInt32BE(0)
}

/** Resolves when the connection ended. */
export async function over(client: RawHttp2Client): Promise<void> {
  await client.until(() => client.closed)
}
