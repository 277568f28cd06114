import { once } from 'node:events'
import { createServer, request as httpRequest, type Server, type ServerResponse } from 'node:http'
import * as http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { isAtLeast } from '../../src/cli/envoy/envoy-version.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { CutOffResponse, sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { type ModelServer, modelsAreListed, startModelServer } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { jsonReply, type Reply, sseReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

const MIB = 1024 * 1024
const BODY = '{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}'

const CLIENTS = [
  ['HTTP/1.1', sendHttp1],
  ['HTTP/2', sendHttp2],
] as const

/** The two pools, and both ways in which a request body is looked at. */
const PATHS = ['/h1/look', '/h1/duplex', '/h2c/look', '/h2c/duplex'] as const

/** Once for each protocol and each mode is enough for what takes long. */
const isBig = (path: string) => path === '/h1/look' || path === '/h2c/duplex'

describeOnPlanes('a response reaches the client as it is', plane => {
  // Before 1.37 Envoy resets streams with NO_ERROR, which Node's client takes for their end.
  const resetsWithError = plane === 'embedded' || isAtLeast(plane.version, '1.37.0')
  let h1: ModelServer
  let h2c: ModelServer
  let live: LiveServer
  let rig: Rig

  beforeAll(async () => {
    h1 = await startModelServer({ name: 'h1', models: ['m'] })
    h2c = await startModelServer({ name: 'h2c', models: ['m'], protocol: 'h2c' })
    live = await startLiveServer()
    const both = (name: string, pool: string) => [
      routeYaml({ name: `${name}-look`, prefix: `/${name}/look`, models: { '': pool } }),
      routeYaml({
        name: `${name}-duplex`,
        prefix: `/${name}/duplex`,
        models: { '': pool },
        annotations: { 'signalbox.dev/body': 'full-duplex' },
      }),
    ]
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml({ name: 'h1', addresses: [h1.address] }),
        poolYaml({ name: 'h2c', addresses: [h2c.address] })
          .replace('  targetPorts:', '  appProtocol: kubernetes.io/h2c\n  targetPorts:')
          .replace('  endpoints:', '  appProtocol: kubernetes.io/h2c\n  endpoints:'),
        poolYaml({ name: 'live', addresses: [live.address] }),
        ...both('h1', 'h1'),
        ...both('h2c', 'h2c'),
        ...both('live', 'live'),
        parametersYaml(),
      ),
    })
    // The scraper speaks HTTP/1.1 only: what the h2c server has stays unknown, and every model goes there.
    await modelsAreListed(rig, [h1])
  })
  afterAll(async () => {
    await rig?.stop()
    await Promise.all([h1?.close(), h2c?.close(), live?.close()])
  })

  beforeEach(() => rig.decides('/h1/look'))

  const answers = (reply: Reply) => {
    for (const server of [h1, h2c]) server.script(() => reply)
  }

  const big = randomBytes(20 * MIB)
  const CASES: readonly (readonly [what: string, reply: Reply])[] = [
    ['JSON', jsonReply({ id: 'chatcmpl-1', choices: [{ text: 'ä "quoted" \n' }] })],
    ['JSON that is an error of the backend', jsonReply({ error: { message: 'no' } }, 422)],
    ['a 429 of the backend with its own retry-after', { ...jsonReply({}, 429), headers: { 'retry-after': '7' } }],
    ['events', sseReply(['{"a":1}', '{"a":2}', '[DONE]'])],
    [
      'events with odd line ends',
      {
        headers: { 'content-type': 'text/event-stream' },
        chunks: ['data: a\r\n', '\r\ndata:b\n', '\n: ping\r\rdata: [DONE]\n\n'],
      },
    ],
    ['nothing, with a length', { status: 200, contentLength: true }],
    ['nothing, without one', { status: 200 }],
    ['one byte', { chunks: ['x'] }],
    ['many pieces', { chunks: Array.from({ length: 2000 }, (_, i) => `${i},`) }],
    [
      'bytes that are no text',
      { headers: { 'content-type': 'audio/mpeg' }, chunks: [randomBytes(100_000)], contentLength: true },
    ],
    ['headers that repeat', { headers: { 'set-cookie': ['a=1', 'b=2'], 'x-custom': 'C' }, chunks: ['x'] }],
    ['unusual status', { status: 299, chunks: ['x'] }],
  ]

  const BIG_CASES: readonly (readonly [what: string, reply: Reply])[] = [
    ['20 MB with a length', { chunks: [big], contentLength: true }],
    ['20 MB in pieces', { chunks: Array.from({ length: 20 }, (_, i) => big.subarray(i * MIB, (i + 1) * MIB)) }],
  ]

  describe.each(PATHS)('%s', path => {
    it.each(isBig(path) ? [...CASES, ...BIG_CASES] : CASES)('%s', async (_what, reply) => {
      answers(reply)
      const wanted = bodyRecord(Buffer.concat((reply.chunks ?? []).map(chunk => Buffer.from(chunk))))
      for (const [, send] of CLIENTS) {
        const response = await send({
          port: rig.port,
          path,
          headers: { 'content-type': 'application/json' },
          body: BODY,
        })
        const { length: bytes, sha256 } = bodyRecord(response.body)
        expect([response.status, bytes, sha256]).toEqual([reply.status ?? 200, wanted.length, wanted.sha256])
        for (const [name, value] of Object.entries(reply.headers ?? {})) {
          expect([name, response.headers[name]]).toEqual([name, typeof value === 'string' ? value : value.join(', ')])
        }
        const length = reply.contentLength === true ? String(wanted.length) : undefined
        // Nothing may be told as a length of nothing.
        expect([length, wanted.length === 0 ? '0' : length]).toContain(response.headers['content-length'])
      }
    })

    it('204 and 304', async () => {
      for (const status of [204, 304]) {
        answers({ status, headers: { etag: '"1"' } })
        for (const [, send] of CLIENTS) {
          const response = await send({ port: rig.port, path, body: BODY })
          expect([response.status, response.headers['etag'], response.body.length]).toEqual([status, '"1"', 0])
          expect(response.headers['transfer-encoding']).toBeUndefined()
        }
      }
    })

    it('HEAD tells the length of a body that it does not have', async () => {
      answers({ ...jsonReply({ some: 'thing' }), headers: { 'content-type': 'application/json', etag: '"2"' } })
      for (const [, send] of CLIENTS) {
        const response = await send({ port: rig.port, path, method: 'HEAD' })
        expect([response.status, response.body.length, response.headers['etag']]).toEqual([200, 0, '"2"'])
        expect(response.headers['content-length']).toBe('16')
      }
    })

    it('GET', async () => {
      answers(jsonReply({ got: true }))
      for (const [, send] of CLIENTS) {
        const response = await send({ port: rig.port, path: `${path}/files?limit=1` })
        expect([response.status, response.body.toString()]).toEqual([200, '{"got":true}'])
      }
    })

    it('trailers', async () => {
      answers({ chunks: ['abc', 'def'], headers: { trailer: 'x-checksum' }, trailers: { 'x-checksum': '123' } })
      for (const [, send] of CLIENTS) {
        const response = await send({ port: rig.port, path, headers: { te: 'trailers' }, body: BODY })
        expect([response.body.toString(), response.trailers]).toEqual(['abcdef', { 'x-checksum': '123' }])
      }
    })

    it('an answer that comes before the upload has ended', async () => {
      answers({ ...jsonReply({ error: 'too long' }, 400), early: true })
      const body = `{"model":"m","p":"${'x'.repeat(3 * MIB)}"}`
      const response = await sendHttp2({ port: rig.port, path, body, writeBytes: 256 * 1024 })
      expect([response.status, response.body.toString()]).toEqual([400, '{"error":"too long"}'])
    })

    it('an answer that is cut off is cut off for the client too', async () => {
      answers({ chunks: ['data: 1\n\n'], headers: { 'content-type': 'text/event-stream' }, after: 'destroy' })
      for (const [, send] of CLIENTS) {
        const sent = send({ port: rig.port, path, body: BODY })
        if (send === sendHttp2 && !resetsWithError) {
          expect((await sent).body.toString()).toBe('data: 1\n\n')
          continue
        }
        await expect(sent).rejects.toThrow()
        await sent.catch((error: unknown) => {
          if (error instanceof CutOffResponse) expect(error.partial.body.toString()).toBe('data: 1\n\n')
        })
      }
    })
  })

  describe.each(['/live/look', '/live/duplex'])('%s', path => {
    it.each(CLIENTS)('each event arrives before the next one is sent: %s', async (_label, send) => {
      let received = ''
      const done = send({ port: rig.port, path, body: BODY, onData: part => (received += part.toString()) })
      const stream = await live.next()
      stream.writeHead(200, { 'content-type': 'text/event-stream' })
      let sent = ''
      for (let i = 0; i < 20; i++) {
        const event = `data: {"token":${i}}\n\n`
        sent += event
        stream.write(event)
        await waitFor(`event ${i}`, () => received === sent, { intervalMs: 2 })
      }
      stream.end()
      expect((await done).body.toString()).toBe(sent)
    })

    it('the headers arrive before there is any body', async () => {
      const outgoing = httpRequest({ port: rig.port, path, method: 'POST', agent: false })
      outgoing.end(BODY)
      const stream = await live.next()
      stream.writeHead(200, { 'content-type': 'text/event-stream' })
      stream.flushHeaders()
      const [incoming] = (await once(outgoing, 'response')) as [NodeJS.ReadableStream & { statusCode: number }]
      expect(incoming.statusCode).toBe(200)
      stream.end('data: x\n\n')
      incoming.resume()
      await once(incoming, 'end')
    })

    it('a client that goes away in the middle is noticed by the backend: HTTP/1.1', async () => {
      const outgoing = httpRequest({ port: rig.port, path, method: 'POST', agent: false })
      outgoing.on('error', () => {})
      outgoing.end(BODY)
      const stream = await live.next()
      const gone = once(stream, 'close')
      stream.writeHead(200, { 'content-type': 'text/event-stream' })
      stream.write('data: 1\n\n')
      const [incoming] = (await once(outgoing, 'response')) as [NodeJS.ReadableStream]
      await once(incoming, 'data')
      expect(stream.writableEnded || stream.destroyed).toBe(false)
      outgoing.destroy()
      await gone
      expect(stream.writableFinished).toBe(false)
    })

    it('a client that goes away in the middle is noticed by the backend: HTTP/2', async () => {
      const session = http2.connect(rig.url)
      session.on('error', () => {})
      try {
        const request = session.request({ ':method': 'POST', ':path': path })
        request.on('error', () => {})
        request.end(BODY)
        const stream = await live.next()
        const gone = once(stream, 'close')
        stream.writeHead(200, { 'content-type': 'text/event-stream' })
        stream.write('data: 1\n\n')
        await once(request, 'data')
        request.close(http2.constants.NGHTTP2_CANCEL)
        await gone
        expect(stream.writableFinished).toBe(false)
        // The connection is as good as before.
        const next = session.request({ ':method': 'POST', ':path': path })
        next.end(BODY)
        ;(await live.next()).end('fine')
        const [data] = (await once(next, 'data')) as [Buffer]
        expect(data.toString()).toBe('fine')
      } finally {
        session.destroy()
      }
    })
  })
})

/** A server whose answers the test writes itself, as its clients wait. */
interface LiveServer {
  readonly address: string
  /** The next request that came: how it is to be answered. */
  next(): Promise<ServerResponse>
  close(): Promise<void>
}

async function startLiveServer(): Promise<LiveServer> {
  const waiting: ServerResponse[] = []
  const server: Server = createServer((incoming, outgoing) => {
    if (incoming.method !== 'POST') {
      outgoing.writeHead(404).end()
      return
    }
    incoming.resume()
    incoming.on('end', () => waiting.push(outgoing))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    next: () => waitFor('a request at the backend', () => waiting.shift(), { intervalMs: 2 }),
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
