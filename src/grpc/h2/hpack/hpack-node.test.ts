/** Against nghttp2 as `node:http2` has it: its client's blocks are read by our decoder, our answers by its. */
import { afterEach, describe, expect, it } from '@jest/globals'
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  sensitiveHeaders,
} from 'node:http2'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { Flag, FrameType, FRAME_HEAD_BYTES, PREFACE, readUint31, writeFrameHead, writeUint32 } from '../frame.ts'
import { encodeHeaders } from './encode-headers.ts'
import { randomNumbers } from './random-blocks.testing.ts'
import { HeaderResult, RequestHeaderDecoder } from './request-header-decoder.ts'

const HEADER_TABLE_SIZE = 1
const MAX_CONCURRENT_STREAMS = 3

interface Peer {
  readonly session: ClientHttp2Session
  /** What our decoder said, by stream. */
  readonly requests: Map<number, Readonly<Record<string, unknown>> | HeaderResult>
  /** Octets of each header block. */
  readonly blockBytes: number[]
}

const toClose: { server: Server; session: ClientHttp2Session; sockets: Socket[] }[] = []

afterEach(async () => {
  for (const { server, session, sockets } of toClose.splice(0)) {
    session.destroy()
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
})

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + payload.length)
  writeFrameHead(bytes, 0, payload.length, type, flags, stream)
  bytes.set(payload, FRAME_HEAD_BYTES)
  return bytes
}

function settings(values: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(values.length * 6)
  for (const [at, [id, value]] of values.entries()) {
    payload.writeUInt16BE(id, at * 6)
    writeUint32(payload, at * 6 + 2, value)
  }
  return frame(FrameType.SETTINGS, 0, 0, payload)
}

/** A client of node's, connected to just enough of a server: it answers each request with `answer`, by our encoder. */
async function peer(tableBytes: number, answer: readonly string[]): Promise<Peer> {
  const requests: Peer['requests'] = new Map()
  const blockBytes: number[] = []
  const sockets: Socket[] = []
  const server = createServer(socket => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.write(settings([...sizeSetting(tableBytes), [MAX_CONCURRENT_STREAMS, 10_000]]))
    const decoder = new RequestHeaderDecoder({ maxTableBytes: tableBytes, maxListBytes: 1 << 20, maxFields: 1000 })
    let pending = Buffer.alloc(0)
    let at = PREFACE.length
    let block = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      for (;;) {
        if (pending.length < at + FRAME_HEAD_BYTES) break
        const length = pending.readUIntBE(at, 3)
        if (pending.length < at + FRAME_HEAD_BYTES + length) break
        const type = pending[at + 3]!
        const flags = pending[at + 4]!
        const stream = readUint31(pending, at + 5)
        let payload = pending.subarray(at + FRAME_HEAD_BYTES, at + FRAME_HEAD_BYTES + length)
        at += FRAME_HEAD_BYTES + length
        if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0)
          socket.write(frame(type, Flag.ACK, 0, Buffer.alloc(0)))
        if (type !== FrameType.HEADERS && type !== FrameType.CONTINUATION) continue
        if (type === FrameType.HEADERS && (flags & Flag.PADDED) !== 0)
          payload = payload.subarray(1, length - payload[0]!)
        if (type === FrameType.HEADERS && (flags & Flag.PRIORITY) !== 0) payload = payload.subarray(5)
        block = Buffer.concat([block, payload])
        if ((flags & Flag.END_HEADERS) === 0) continue
        const result = decoder.decodeRequest(block, 0, block.length)
        requests.set(stream, result === HeaderResult.OK ? { ...decoder.headers } : result)
        blockBytes.push(block.length)
        block = Buffer.alloc(0)
        socket.write(frame(FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, stream, encodeHeaders(answer)))
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  toClose.push({ server, session, sockets })
  // With our settings, so that a changed table size is announced by the first block.
  await once(session, 'remoteSettings')
  return { session, requests, blockBytes }
}

function sizeSetting(tableBytes: number): (readonly [number, number])[] {
  return tableBytes === 4096 ? [] : [[HEADER_TABLE_SIZE, tableBytes]]
}

/** Sends a request; the answer's headers, and the stream's number. */
async function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders): Promise<[number, IncomingHttpHeaders]> {
  const stream = session.request(headers, { endStream: true })
  stream.resume()
  const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders]
  return [stream.id!, answer]
}

const ANSWER = [
  ':status',
  '200',
  'content-type',
  'application/grpc',
  'grpc-status',
  '5',
  'grpc-message',
  'no%20such pool',
]

describe('a client of node:http2', () => {
  it.each([4096, 0, 100, 65_536])('is understood over many streams, with a table of %d bytes', async tableBytes => {
    const random = randomNumbers(tableBytes)
    const { session, requests } = await peer(tableBytes, ANSWER)
    const pick = (choices: readonly string[]) => choices[random(choices.length)]!
    const name = () =>
      pick(['x', 'user-agent', 'accept', 'traceparent', `x-${random(100)}`, '__proto__', 'constructor'])
    const value = () =>
      pick(['', 'a', 'trailers', `${random(1e9)}`, 'v'.repeat(random(600)), '\u00e9\u00ff', '~"{}|\\^'])
    for (let round = 0; round < 20; round++) {
      const sent = Array.from({ length: 20 }, () => {
        const headers: OutgoingHttpHeaders = Object.create(null) as OutgoingHttpHeaders
        headers[':method'] = pick(['POST', 'GET', 'PURGE'])
        headers[':path'] = pick([
          '/',
          '/index.html',
          '/envoy.service.ext_proc.v3.ExternalProcessor/Process',
          `/${random(9)}`,
        ])
        headers[':scheme'] = pick(['http', 'https'])
        headers[':authority'] = pick(['picker', 'example.com:8080'])
        for (let more = random(12); more > 0; more--) headers[name()] = value()
        return headers
      })
      const answers = await Promise.all(sent.map(headers => ask(session, headers)))
      for (const [at, [stream]] of answers.entries()) expect(requests.get(stream)).toEqual({ ...sent[at] })
    }
  })

  it('is understood when it sends lists, cookies, and secrets that must not be indexed', async () => {
    const { session, requests } = await peer(4096, ANSWER)
    for (let round = 0; round < 3; round++) {
      const [stream] = await ask(session, {
        ':path': '/',
        ':authority': 'a',
        x: ['1', '2', '3'],
        cookie: ['a=b', 'c=d'],
        authorization: 'secret',
        [sensitiveHeaders]: ['authorization'],
      })
      expect(requests.get(stream)).toEqual({
        ':method': 'GET',
        ':scheme': 'http',
        ':path': '/',
        ':authority': 'a',
        x: '1, 2, 3',
        cookie: 'a=b; c=d',
        authorization: 'secret',
      })
    }
  })

  it('is understood in blocks of several frames', async () => {
    const { session, requests, blockBytes } = await peer(4096, ANSWER)
    const large = Array.from({ length: 50_000 }, (_, at) => String.fromCharCode(0x21 + ((at * 7) % 94))).join('')
    const [stream] = await ask(session, { ':path': '/', ':authority': 'a', large })
    expect(blockBytes[0]).toBeGreaterThan(16_384)
    expect(requests.get(stream)).toMatchObject({ large })
  })

  it('sends a few dozen bytes for the same request again', async () => {
    const { session, blockBytes } = await peer(4096, ANSWER)
    const headers = { ':path': '/a.B/C', ':method': 'POST', te: 'trailers', 'content-type': 'application/grpc' }
    for (let round = 0; round < 3; round++) await ask(session, headers)
    expect(blockBytes[2]).toBe(blockBytes[1])
    expect(blockBytes[1]).toBeLessThan(blockBytes[0]!)
  })
})

describe('answers of ours', () => {
  it.each<[string, string[]]>([
    ['a head', [':status', '200', 'content-type', 'application/grpc']],
    ['trailers only', ANSWER],
    ['a status alone', [':status', '415']],
    ['long and empty values', [':status', '404', 'x', '', 'server', 'v'.repeat(5000), 'y', '\u00e9']],
  ])('are understood by node:http2: %s', async (_, answer) => {
    const { session } = await peer(4096, answer)
    for (let round = 0; round < 2; round++) {
      const [, headers] = await ask(session, { ':path': '/', ':authority': 'a' })
      const [, status, ...rest] = answer
      expect(headers[':status']).toBe(Number(status))
      for (let at = 0; at < rest.length; at += 2) expect(headers[rest[at]!]).toBe(rest[at + 1])
    }
  })
})
