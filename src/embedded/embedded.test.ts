import { readFileSync } from 'node:fs'
import { connect, createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { rootCertificates } from 'node:tls'
import { type AddressInfo, connect as connectTcp } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { JsonObject } from '@bufbuild/protobuf'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { parse } from 'yaml'
import { sendHttp1, sendHttp2, sendRaw } from '../../test/support/http-client.ts'
import { bytesInUse, bytesKeptSince } from '../grpc/suite/kept-memory.ts'
import { type RecordingBackend, startRecordingBackend } from '../../test/support/recording-backend.ts'
import { waitFor } from '../../test/support/wait-for.ts'
import { StreamAccessLogsMessageSchema } from '../gen/envoy/service/accesslog/v3/als_pb.ts'
import { ProcessingResponseSchema } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { type PlaneOptions, planeResources } from '../../test/embedded/plane-resources.ts'
import { startScriptedProcessor } from '../../test/embedded/scripted-processor.ts'
import { bodyRecord } from '../../test/support/recorded-request.ts'
import { portOf, SILENT, startPlane } from '../../test/embedded/planes.ts'
import { bodyAnswer, continueHeaders } from '../../test/embedded/world.ts'
import { type EmbeddedDataPlane, startEmbedded } from './embedded.ts'

let u1: RecordingBackend
let u2: RecordingBackend
const open: { close(graceMs: number): unknown }[] = []
beforeEach(async () => {
  u1 = await startRecordingBackend({ name: 'u1' })
  u2 = await startRecordingBackend({ name: 'u2' })
  open.push(u1, u2)
})
afterEach(async () => {
  for (const item of open.splice(0).toReversed()) await item.close(0)
})

async function plane(options: Partial<PlaneOptions> = {}): Promise<EmbeddedDataPlane> {
  const started = await startPlane({ backends: { u1: [u1.port], u2: [u2.port] }, ...options })
  open.push(started)
  return started
}

const route = (cluster: string, extra: JsonObject = {}): JsonObject => ({
  match: { prefix: '/' },
  route: { cluster, ...extra },
})

describe('update', () => {
  it('swaps routes and endpoints; open requests go on where they are', async () => {
    const proxy = await plane({ routes: [route('u1')] })
    u1.script(() => ({ chunks: ['one ', 'two'], gapMs: 200 }))
    const running = sendHttp1({ port: portOf(proxy) })
    await waitFor('the request', () => u1.requests.length === 1)
    await proxy.update({ ...planeResources({ backends: { u2: [u2.port] }, routes: [route('u2')] }) })
    expect((await sendHttp1({ port: portOf(proxy) })).body.toString()).toContain('u2')
    expect((await running).body.toString()).toBe('one two')
  })

  it('opens and closes listeners, and keeps the others', async () => {
    const proxy = await plane()
    const resources = planeResources({ backends: { u1: [u1.port], u2: [u2.port] } })
    const [listener] = resources.listeners
    const first = portOf(proxy)
    await proxy.update({ ...resources, listeners: [...resources.listeners, { ...listener, name: 'second' }] })
    expect(proxy.listeners.map(({ name }) => name)).toEqual(['l', 'second'])
    expect(portOf(proxy)).toBe(first)
    const second = proxy.listeners[1]!.port
    expect((await sendHttp2({ port: second })).status).toBe(200)
    await proxy.update(resources)
    await expect(sendHttp1({ port: second })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect((await sendHttp1({ port: first })).status).toBe(200)
  })

  it('tells all that it cannot serve at once', async () => {
    const proxy = await plane()
    const bad = planeResources({
      backends: { u1: [1] },
      cluster: { outlierDetection: {} },
      routes: [
        {
          match: { prefix: '/', cookies: [{ name: 'a', stringMatch: { exact: 'b' } }] },
          route: { cluster: 'u1', hashPolicy: [{ header: { headerName: 'x' } }] },
        },
        { match: { safeRegex: { regex: '(' } }, directResponse: { status: 404 } },
      ],
    })
    await expect(proxy.update(bad)).rejects.toMatchObject({
      problems: [
        expect.stringMatching(/^routes r › all › 0: hash_policy/),
        expect.stringMatching(/^routes r › all › 0: cookies/),
        expect.stringMatching(/^routes r › all › 1: Invalid regular expression/),
        expect.stringMatching(/^cluster u1: outlier_detection/),
      ],
    })
    expect(proxy.stats()['embedded.update_rejected']).toBe(1)
  })

  it('finishes open requests before it closes', async () => {
    const proxy = await plane()
    u1.script(() => ({ chunks: ['a', 'b'], gapMs: 150 }))
    const http1 = sendHttp1({ port: portOf(proxy) })
    const http2 = sendHttp2({ port: portOf(proxy) })
    await waitFor('both', () => u1.requests.length === 2)
    const port = portOf(proxy)
    await proxy.close(5000)
    expect((await http1).body.toString()).toBe('ab')
    expect((await http2).body.toString()).toBe('ab')
    await expect(sendHttp1({ port })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('rejects when the port is taken', async () => {
    const resources = planeResources({ backends: {} })
    const text = JSON.stringify(resources).replace('"portValue":0', `"portValue":${u1.port}`)
    await expect(startEmbedded({ resources: JSON.parse(text) as typeof resources, log: SILENT })).rejects.toMatchObject(
      { code: 'EADDRINUSE' },
    )
  })
})

describe('routes', () => {
  it('match exactly as configured', async () => {
    const direct = (status: number): JsonObject => ({
      directResponse: { status, body: { inlineString: String(status) } },
    })
    const proxy = await plane({
      routes: [
        { match: { path: '/exact' }, ...direct(201) },
        { match: { pathSeparatedPrefix: '/a/b' }, ...direct(202) },
        { match: { safeRegex: { regex: '/r[0-9]+' } }, ...direct(203) },
        { match: { prefix: '/', headers: [{ name: ':method', stringMatch: { exact: 'PUT' } }] }, ...direct(206) },
        { match: { prefix: '/', queryParameters: [{ name: 'q', stringMatch: { exact: '1 2' } }] }, ...direct(207) },
        { match: { prefix: '/no', headers: [{ name: 'x', presentMatch: true, invertMatch: true }] }, ...direct(208) },
      ],
    })
    const status = async (path: string, extra: object = {}): Promise<number> =>
      (await sendHttp1({ port: portOf(proxy), path, ...extra })).status
    expect(await status('/exact?x')).toBe(201)
    expect(await status('/exact/')).toBe(404)
    expect(await status('/a/b/c')).toBe(202)
    expect(await status('/a/bc')).toBe(404)
    expect(await status('/r12')).toBe(203)
    expect(await status('/r12/')).toBe(404)
    expect(await status('/x', { method: 'PUT', body: '' })).toBe(206)
    expect(await status('/x?q=1+2')).toBe(207)
    expect(await status('/no')).toBe(208)
    expect(await status('/no', { headers: { x: '1' } })).toBe(404)
  })

  it('change paths, hosts and headers, and redirect', async () => {
    const header = (key: string, value: string, appendAction: string): JsonObject => ({
      header: { key, value },
      appendAction,
    })
    const proxy = await plane({
      routes: [
        {
          match: { path: '/go' },
          redirect: {
            schemeRedirect: 'https',
            hostRedirect: 'b.test',
            regexRewrite: { pattern: { regex: '^/(go)$' }, substitution: '/\\1ne' },
            responseCode: 'FOUND',
          },
        },
        {
          match: { prefix: '/v1/' },
          route: { cluster: 'u1', prefixRewrite: '/', hostRewriteLiteral: 'model.test' },
          requestHeadersToAdd: [
            header('x-set', 'new', 'OVERWRITE_IF_EXISTS_OR_ADD'),
            header('x-add', 'b', 'APPEND_IF_EXISTS_OR_ADD'),
            header('x-path', '%REQ(:PATH)%', 'OVERWRITE_IF_EXISTS_OR_ADD'),
          ],
          requestHeadersToRemove: ['x-gone'],
          responseHeadersToAdd: [header('x-out', '100%%', 'OVERWRITE_IF_EXISTS_OR_ADD')],
          responseHeadersToRemove: ['content-type'],
        },
      ],
    })
    const port = portOf(proxy)
    expect((await sendHttp1({ port, path: '/go?a=b' })).headers['location']).toBe('https://b.test/gone?a=b')
    const response = await sendHttp1({
      port,
      path: '/v1/chat?x=1',
      headers: { 'x-set': 'old', 'x-add': 'a', 'x-gone': '1' },
    })
    expect(response.headers['x-out']).toBe('100%')
    expect(response.headers['content-type']).toBeUndefined()
    const seen = await u1.completed()
    expect(seen.path).toBe('/chat?x=1')
    expect(seen.headers).toMatchObject({
      host: 'model.test',
      'x-set': 'new',
      'x-add': 'a, b',
      'x-path': '/v1/chat?x=1',
    })
    expect(seen.headers['x-gone']).toBeUndefined()
  })

  it('draw weighted clusters, and mirror', async () => {
    const proxy = await plane({
      routes: [
        {
          match: { prefix: '/w' },
          route: {
            weightedClusters: {
              clusters: [
                { name: 'u1', weight: 1 },
                { name: 'u2', weight: 3 },
              ],
            },
          },
        },
        { match: { prefix: '/m' }, route: { cluster: 'u1', requestMirrorPolicies: [{ cluster: 'u2' }] } },
      ],
    })
    const port = portOf(proxy)
    for (let i = 0; i < 80; i++) await sendHttp1({ port, path: '/w' })
    expect(u1.requests.length).toBeGreaterThan(5)
    expect(u2.requests.length).toBeGreaterThan(u1.requests.length)
    u1.forget()
    u2.forget()
    expect((await sendHttp1({ port, path: '/m', body: 'copy me' })).body.toString()).toContain('u1')
    const copy = await u2.completed()
    expect(copy.body.bytes?.toString()).toBe('copy me')
    expect(copy.headers['host']).toBe(`127.0.0.1-shadow:${port}`)
  })

  it('see one spelling of a path, and no header that clients must not send', async () => {
    const proxy = await plane({
      manager: {
        normalizePath: true,
        mergeSlashes: true,
        pathWithEscapedSlashesAction: 'UNESCAPE_AND_FORWARD',
        stripTrailingHostDot: true,
        useRemoteAddress: true,
        alwaysSetRequestIdInResponse: true,
        earlyHeaderMutationExtensions: [
          {
            name: 'early',
            typedConfig: {
              '@type':
                'type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation',
              mutations: [
                { remove: 'x-gateway-model-name' },
                { removeOnMatch: { keyMatcher: { prefix: 'x-signalbox-' } } },
              ],
            },
          },
        ],
      },
    })
    const response = await sendHttp1({
      port: portOf(proxy),
      path: '/a//b/../c%2Fd?e=/../f',
      headers: {
        'x-gateway-model-name': 'm2',
        'x-signalbox-target': '1',
        'x-envoy-retry-on': '5xx',
        'x-request-id': 'mine',
        host: 'a.test.',
      },
    })
    const seen = await u1.completed()
    expect(seen.path).toBe('/a/c/d?e=/../f')
    expect(Object.keys(seen.headers).filter(name => /^x-(gateway|signalbox|envoy)/.test(name))).toEqual([])
    expect(seen.headers['x-forwarded-for']).toBe('127.0.0.1')
    expect(seen.headers['host']).toBe('a.test')
    expect(seen.headers['x-request-id']).not.toBe('mine')
    expect(response.headers['x-request-id']).toBe(seen.headers['x-request-id'])
  })
})

describe('upstreams', () => {
  const RETRY = {
    retryPolicy: {
      retryOn: 'connect-failure,reset,retriable-status-codes',
      retriableStatusCodes: [503],
      numRetries: 2,
      retryBackOff: { baseInterval: '0.001s' },
    },
  }

  it('are tried again with the whole body as long as it is kept', async () => {
    const proxy = await plane({ routes: [{ ...route('u1', RETRY), requestBodyBufferLimit: '100000' }] })
    let failures = 0
    const failing = (times: number): void => {
      failures = 0
      u1.script(() => (failures++ < times ? { status: 503, early: false } : { status: 200 }))
    }
    failing(2)
    expect((await sendHttp1({ port: portOf(proxy), body: 'b'.repeat(50_000) })).status).toBe(200)
    expect(u1.requests.map(request => request.body.length)).toEqual([50_000, 50_000, 50_000])
    failing(3)
    expect((await sendHttp1({ port: portOf(proxy) })).status).toBe(503)
    failing(1)
    // More than is kept: no second attempt.
    expect((await sendHttp1({ port: portOf(proxy), body: 'b'.repeat(300_000) })).status).toBe(503)
  })

  it('that cut the connection before a response: again, or 503', async () => {
    const proxy = await plane({
      routes: [{ match: { path: '/retry' }, route: { cluster: 'u1', ...RETRY } }, route('u1')],
    })
    let count = 0
    u1.script(() =>
      count++ === 0
        ? { after: 'destroy', silent: false, status: 200, headers: { 'content-length': '5' }, chunks: [] }
        : {},
    )
    await expect(sendHttp1({ port: portOf(proxy) })).rejects.toThrow()
    const gone = await plane({ backends: { u1: [1], u2: [] } })
    const refused = await sendHttp1({ port: portOf(gone) })
    expect(refused.status).toBe(503)
    expect(refused.body.toString()).toContain('remote connection failure')
  })

  it('that die in the middle of a response cut the client off', async () => {
    const proxy = await plane()
    u1.script(() => ({ chunks: ['part'], after: 'destroy' }))
    await expect(sendHttp1({ port: portOf(proxy) })).rejects.toThrow()
    await expect(sendHttp2({ port: portOf(proxy) })).rejects.toThrow()
  })

  it('that are too slow: 504 by the route', async () => {
    const proxy = await plane({ routes: [route('u1', { timeout: '0.1s' })] })
    u1.script(() => ({ silent: true }))
    expect((await sendHttp1({ port: portOf(proxy), body: 'x' })).status).toBe(504)
    expect(proxy.stats()['http.test.downstream_rq_active']).toBe(0)
  })

  it('may answer before the request is complete', async () => {
    const proxy = await plane()
    u1.script(() => ({ status: 413, early: true, chunks: ['no'] }))
    const response = await sendHttp1({ port: portOf(proxy), body: 'x'.repeat(5_000_000), writeBytes: 100_000 })
    expect(response.status).toBe(413)
    expect((await sendHttp2({ port: portOf(proxy), body: 'x'.repeat(5_000_000) })).status).toBe(413)
  })
})

describe('clients', () => {
  it('that do not read hold the upstream back', async () => {
    const proxy = await plane()
    const chunks = Array.from({ length: 400 }, () => Buffer.alloc(100_000, 'x'))
    u1.script(() => ({ chunks }))
    const before = bytesInUse()
    const socket = connectTcp(portOf(proxy), '127.0.0.1')
    socket.pause()
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    await waitFor('the request', () => u1.requests.length === 1)
    await sleep(300)
    // Far less than the 40 MB of the response waits in the proxy.
    expect(await bytesKeptSince(before, 30_000_000)).toBeLessThan(30_000_000)
    let got = 0
    socket.on('data', bytes => {
      got += bytes.length
    })
    socket.resume()
    await waitFor('the rest', () => got > 40_000_000, { timeoutMs: 20_000 })
    socket.destroy()
  })

  it('get 100 Continue, and 403 for an upgrade', async () => {
    const proxy = await plane()
    const port = portOf(proxy)
    const text = await sendRaw(
      port,
      ['POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n', 'hi'],
      { gapMs: 20, until: received => received.includes('u1') },
    )
    expect(text.toString()).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/)
    expect((await u1.completed()).headers['expect']).toBeUndefined()
    const upgrade = await sendRaw(
      port,
      ['GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'],
      { until: received => received.includes('\r\n\r\n') },
    )
    expect(upgrade.toString()).toMatch(/^HTTP\/1.1 403/)
  })

  it('may send the first bytes one by one, of either protocol', async () => {
    const proxy = await plane()
    const bytes = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx'.split('')
    const text = await sendRaw(portOf(proxy), bytes, { gapMs: 1, until: received => received.includes('u1') })
    expect(text.toString()).toContain('200 OK')
  })

  it('speak TLS with ALPN; the server name chooses the chain', async () => {
    const golden = readFileSync(new URL('../compile/testdata/tls.golden.yaml', import.meta.url), 'utf8')
    const [secret] = (parse(golden) as { secrets: JsonObject[] }).secrets
    const resources = planeResources({ backends: { u1: [u1.port], u2: [u2.port] } })
    const text = JSON.stringify(resources.listeners)
    const [listener] = JSON.parse(text) as { filterChains: JsonObject[] }[]
    const transportSocket = {
      name: 'tls',
      typedConfig: {
        '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
        commonTlsContext: { tlsCertificateSdsSecretConfigs: [{ name: 's', sdsConfig: { ads: {} } }] },
      },
    }
    const chains = [{ ...listener!.filterChains[0], filterChainMatch: { serverNames: ['*.test'] }, transportSocket }]
    const proxy = await startEmbedded({
      resources: {
        ...resources,
        listeners: [{ ...listener, filterChains: chains }],
        secrets: [{ ...secret, name: 's' }],
      },
      log: SILENT,
      adminPort: 0,
    })
    open.push(proxy)
    const get = async (servername: string): Promise<string> => {
      const session = connect(`https://127.0.0.1:${portOf(proxy)}`, { rejectUnauthorized: false, servername })
      const { promise, resolve, reject } = Promise.withResolvers<string>()
      session.on('error', reject)
      const stream = session.request({ ':path': '/' })
      stream.on('error', reject)
      stream.on('response', headers => resolve(`${headers[':status']} ${String(session.alpnProtocol)}`))
      stream.resume()
      try {
        return await promise
      } finally {
        session.destroy()
      }
    }
    expect(await get('a.test')).toBe('200 h2')
    await expect(get('b.other')).rejects.toThrow()
    expect((await u1.completed()).headers['x-forwarded-proto']).toBe('https')
    const admin = `http://127.0.0.1:${proxy.adminPort}`
    expect(await (await fetch(`${admin}/ready`)).text()).toBe('LIVE\n')
    expect(await (await fetch(`${admin}/stats`)).text()).toMatch(/^http.test.downstream_rq_2xx: 1$/m)
    const dump = await (await fetch(`${admin}/config_dump`)).text()
    expect(dump).toContain('"l"')
    expect(dump).not.toContain('PRIVATE KEY')
  })
})

describe('towards the processor', () => {
  /** A gRPC server bare enough to see how streams end. */
  async function bareServer(
    onStream: (stream: ServerHttp2Stream, path: string) => void,
  ): Promise<{ port: number; close(): void }> {
    const server: Http2Server = createServer({ streamResetBurst: 1e6, streamResetRate: 1e6 })
    const sessions = new Set<{ destroy(): void }>()
    server.on('session', session => sessions.add(session))
    server.on('stream', (stream, headers) => {
      stream.on('error', () => undefined)
      onStream(stream, String(headers[':path']))
    })
    server.listen(0, '127.0.0.1')
    await waitFor('the server', () => server.listening)
    const item = {
      port: (server.address() as AddressInfo).port,
      close: () => {
        for (const session of sessions) session.destroy()
        server.close()
      },
    }
    open.push(item)
    return item
  }

  const answer = Buffer.from(toBinary(ProcessingResponseSchema, create(ProcessingResponseSchema, continueHeaders())))
  const framed = Buffer.concat([Buffer.from([0, 0, 0, 0, answer.length]), answer])
  const HEADERS_ONLY = { processingMode: { requestHeaderMode: 'SEND', responseHeaderMode: 'SKIP' } }

  it.each([
    [false, 'reset 2'],
    [true, 'closed 0'],
  ])('streams end as Envoy ends them (graceful: %s)', async (gracefulGrpcClose, expected) => {
    const ends: string[] = []
    const server = await bareServer(stream => {
      let ended = false
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.on('data', () => stream.write(framed))
      stream.on('end', () => {
        ended = true
        stream.end()
      })
      stream.on('close', () =>
        ends.push(
          `${stream.rstCode === 0 ? 'closed' : 'reset'} ${stream.rstCode}${ended ? '' : ' without END_STREAM'}`,
        ),
      )
    })
    const proxy = await plane({ extProc: HEADERS_ONLY, extProcPort: server.port, gracefulGrpcClose })
    expect((await sendHttp1({ port: portOf(proxy) })).status).toBe(200)
    await waitFor('the end', () => ends.length === 1)
    expect(ends).toEqual([expected])
  })

  it('one connection carries many streams; a lost one is made again', async () => {
    const sessions = new Set<unknown>()
    let last: ServerHttp2Stream | undefined
    const server = await bareServer(stream => {
      sessions.add(stream.session)
      last = stream
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      // One byte at a time.
      stream.on('data', () => {
        for (const byte of framed) stream.write(Buffer.from([byte]))
      })
    })
    const proxy = await plane({ extProc: HEADERS_ONLY, extProcPort: server.port })
    const port = portOf(proxy)
    for (let i = 0; i < 5; i++) expect((await sendHttp1({ port })).status).toBe(200)
    expect(sessions.size).toBe(1)
    for (const session of sessions) (session as { destroy(): void }).destroy()
    await waitFor('the loss', () => last?.destroyed)
    await sleep(50)
    expect((await sendHttp1({ port })).status).toBe(200)
    expect(sessions.size).toBe(2)
    expect(proxy.stats()['http.test.ext_proc.streams_started']).toBe(6)
  })

  it('a processor that takes nothing stops the client at the windows', async () => {
    const server = await bareServer(stream => {
      stream.pause()
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    })
    const processingMode = {
      requestHeaderMode: 'SEND',
      requestBodyMode: 'FULL_DUPLEX_STREAMED',
      requestTrailerMode: 'SEND',
      responseHeaderMode: 'SKIP',
    }
    const windows = {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicitHttpConfig: { http2ProtocolOptions: { initialStreamWindowSize: 65_536 } },
      },
    }
    const resources = planeResources({
      extProc: { processingMode },
      extProcPort: server.port,
      backends: { u1: [u1.port] },
    })
    const clusters = resources.clusters.map(cluster =>
      cluster['name'] === 'processor' ? { ...cluster, typedExtensionProtocolOptions: windows } : cluster,
    )
    const proxy = await startEmbedded({ resources: { ...resources, clusters }, log: SILENT })
    open.push(proxy)
    await expectStalls(portOf(proxy), 2_000_000)
  })

  it("a decision that does not come stops the client at the route's body limit", async () => {
    const server = await bareServer(stream => {
      stream.resume()
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    })
    const processingMode = { requestHeaderMode: 'SEND', requestBodyMode: 'STREAMED', responseHeaderMode: 'SKIP' }
    const proxy = await plane({
      extProc: { processingMode, sendBodyWithoutWaitingForHeaderResponse: true },
      extProcPort: server.port,
      routes: [{ ...route('u1'), requestBodyBufferLimit: '300000' }],
    })
    await expectStalls(portOf(proxy), 2_000_000)
  })

  /** Writes until the proxy stops reading, which must be long before 30 MB. */
  async function expectStalls(port: number, atMost: number): Promise<void> {
    const socket = connectTcp(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 30000000\r\n\r\n')
    const piece = Buffer.alloc(100_000)
    for (let sent = 0; sent < 30_000_000; sent += piece.length) socket.write(piece)
    let before = -1
    await waitFor('the writes to stall', async () => {
      const taken = 30_000_000 - socket.writableLength
      const stalled = taken === before
      before = taken
      await sleep(150)
      return stalled
    })
    // Kernel buffers on both sides take some megabytes.
    expect(before).toBeLessThan(atMost + 8_000_000)
    socket.destroy()
  }

  it('20 MB in look mode, several at once: intact though far more waits than node grants a session', async () => {
    const processor = await startScriptedProcessor(async call => {
      await call.next()
      await call.next()
      call.send(continueHeaders())
      call.end()
    })
    open.push(processor)
    const proxy = await plane({
      extProc: {
        processingMode: { requestHeaderMode: 'SEND', requestBodyMode: 'STREAMED', responseHeaderMode: 'SKIP' },
        sendBodyWithoutWaitingForHeaderResponse: true,
        allowContentLengthHeader: true,
      },
      extProcPort: processor.port,
      routes: [{ ...route('u1'), requestBodyBufferLimit: String(32 << 20) }],
    })
    const body = Buffer.alloc(20_000_000, 'twenty')
    const requests = Array.from({ length: 4 }, (_, i) =>
      (i % 2 === 0 ? sendHttp1 : sendHttp2)({ port: portOf(proxy), body }),
    )
    for (const response of await Promise.all(requests)) expect(response.status).toBe(200)
    expect(u1.requests.map(request => request.body.sha256)).toEqual(
      Array.from({ length: 4 }, () => bodyRecord(body).sha256),
    )
  })

  it.each(['longer than said', 's'])(
    'a kept content-length that no longer fits never reaches the next request (%s)',
    async changed => {
      const processor = await startScriptedProcessor(async call => {
        await call.next()
        for (let first = true; ; first = false) {
          const message = await call.next()
          if (message === undefined) return
          if (first) call.send(continueHeaders(), bodyAnswer(changed))
          else call.send(bodyAnswer(''))
        }
      })
      open.push(processor)
      const proxy = await plane({
        extProc: {
          processingMode: { requestHeaderMode: 'SEND', requestBodyMode: 'STREAMED', responseHeaderMode: 'SKIP' },
          sendBodyWithoutWaitingForHeaderResponse: true,
          allowContentLengthHeader: true,
        },
        extProcPort: processor.port,
      })
      const response = await sendHttp1({ port: portOf(proxy), body: 'abc' })
      expect(response.status).toBe(503)
      expect(response.body.toString()).toContain('content length mismatch')
      await sleep(20)
      expect(u1.requests.filter(request => request.complete)).toEqual([])
    },
  )

  it('TLS: upstreams are checked against the CA where there is one', async () => {
    const golden = readFileSync(new URL('../compile/testdata/tls.golden.yaml', import.meta.url), 'utf8')
    type Secret = { tlsCertificate: Record<'certificateChain' | 'privateKey', { inlineString: string }> }
    const [secret] = (parse(golden) as { secrets: Secret[] }).secrets
    const { certificateChain, privateKey } = secret!.tlsCertificate
    const server = createHttpsServer(
      { cert: certificateChain.inlineString, key: privateKey.inlineString },
      (_request, response) => response.end('safe'),
    )
    server.listen(0, '127.0.0.1')
    await waitFor('the server', () => server.listening)
    open.push({
      close: () => {
        server.close()
        server.closeAllConnections()
      },
    })
    const { port } = server.address() as AddressInfo
    const transportSocket = (trustedCa?: JsonObject): JsonObject => ({
      transportSocket: {
        name: 'tls',
        typedConfig: {
          '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
          ...(trustedCa === undefined ? {} : { commonTlsContext: { validationContext: { trustedCa } } }),
        },
      },
    })
    const ask = async (cluster: JsonObject): Promise<string> => {
      const proxy = await plane({ backends: { u1: [port], u2: [] }, cluster })
      const { status, body } = await sendHttp1({ port: portOf(proxy) })
      return `${status} ${body.toString()}`
    }
    expect(await ask(transportSocket())).toBe('200 safe')
    expect(await ask(transportSocket(certificateChain))).toBe('200 safe')
    // Any other certificate is no authority for this one.
    expect(await ask(transportSocket({ inlineString: rootCertificates[0]! }))).toMatch(/^503/)
  })

  it('finished requests are reported to the access log service', async () => {
    const entries: { cluster: string; host: unknown; model: unknown; id: string }[] = []
    const server = await bareServer((stream, path) => {
      expect(path).toBe('/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs')
      let rest: Buffer = Buffer.alloc(0)
      stream.on('data', (bytes: Buffer) => {
        rest = Buffer.concat([rest, bytes])
        while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
          const message = fromBinary(StreamAccessLogsMessageSchema, rest.subarray(5, 5 + rest.readUInt32BE(1)))
          rest = rest.subarray(5 + rest.readUInt32BE(1))
          for (const entry of message.logEntries.value?.logEntry ?? []) {
            const address = entry.commonProperties?.upstreamRemoteAddress?.address
            entries.push({
              cluster: entry.commonProperties?.upstreamCluster ?? '',
              host: address?.case === 'socketAddress' ? address.value.portSpecifier.value : undefined,
              model: entry.commonProperties?.metadata?.filterMetadata['envoy.lb'],
              id: entry.request?.requestId ?? '',
            })
          }
        }
      })
    })
    const proxy = await plane({
      extProcPort: server.port,
      manager: {
        accessLog: [
          {
            name: 'als',
            typedConfig: {
              '@type': 'type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig',
              commonConfig: {
                logName: 'x',
                grpcService: { envoyGrpc: { clusterName: 'processor' } },
                bufferFlushInterval: '0.02s',
              },
            },
          },
        ],
      },
    })
    const headers = { 'x-request-id': 'abc' }
    await sendHttp1({ port: portOf(proxy), headers })
    await sendHttp1({ port: portOf(proxy), headers })
    await waitFor('two entries', () => entries.length === 2)
    expect(entries[0]).toEqual({ cluster: 'u1', host: u1.port, model: undefined, id: 'abc' })
  })
})
