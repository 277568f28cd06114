import { afterEach, describe, expect, it } from '@jest/globals'
import { openHttp2, sendHttp1, sendHttp2 } from '../../test/support/http-client.ts'
import { bodyRecord } from '../../test/support/recorded-request.ts'
import { type RecordingBackend, startRecordingBackend } from '../../test/support/recording-backend.ts'
import type { EmbeddedDataPlane } from './embedded.ts'
import { type PlaneOptions, planeResources } from '../../test/embedded/plane-resources.ts'
import { portOf, startPlane } from '../../test/embedded/planes.ts'

const open: { close(graceMs: number): Promise<void> }[] = []
afterEach(async () => {
  for (const item of open.splice(0).toReversed()) await item.close(0)
})

async function backend(options: Parameters<typeof startRecordingBackend>[0] = {}): Promise<RecordingBackend> {
  const started = await startRecordingBackend(options)
  open.push(started)
  return started
}

async function plane(options: PlaneOptions): Promise<EmbeddedDataPlane> {
  const started = await startPlane(options)
  open.push(started)
  return started
}

const HTTP2_CLUSTER = {
  typedExtensionProtocolOptions: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicitHttpConfig: { http2ProtocolOptions: {} },
    },
  },
}

describe.each([
  ['HTTP/1.1', 'HTTP/1.1', sendHttp1, 'http1'],
  ['HTTP/2', 'HTTP/1.1', sendHttp2, 'http1'],
  ['HTTP/1.1', 'HTTP/2', sendHttp1, 'h2c'],
  ['HTTP/2', 'HTTP/2', sendHttp2, 'h2c'],
] as const)('%s to %s without ext_proc', (_client, _server, send, protocol) => {
  it.each([0, 1, 1024, 1 << 20])(
    'passes %d bytes both ways, chunked and with content-length, with and without trailers',
    async size => {
      const body = Buffer.alloc(size, 'abcdefghij')
      const u1 = await backend({
        protocol,
        script: () => ({ chunks: [body.subarray(0, 3), body.subarray(3)], headers: { 'x-a': ['1', '2'] } }),
      })
      const proxy = await plane({
        backends: { u1: [u1.port] },
        ...(protocol === 'h2c' ? { cluster: HTTP2_CLUSTER } : {}),
      })
      for (const extra of [{}, { framing: 'chunked' }, { trailers: { 'x-end': 'yes' } }] as const) {
        u1.forget()
        const response = await send({
          port: portOf(proxy),
          method: 'POST',
          path: '/p?q=1',
          body,
          headers: { 'x-one': 'é' },
          ...extra,
        })
        expect(response.status).toBe(200)
        expect(bodyRecord(response.body).sha256).toBe(bodyRecord(body).sha256)
        expect(response.headers['x-a']).toBe('1, 2')
        const seen = await u1.completed()
        expect(seen).toMatchObject({ method: 'POST', path: '/p?q=1', complete: true })
        expect(seen.body.sha256).toBe(bodyRecord(body).sha256)
        if ('trailers' in extra) expect(seen.trailers).toEqual({ 'x-end': 'yes' })
        else expect(seen.trailers).toEqual({})
        if (protocol === 'http1' && !('trailers' in extra) && !('framing' in extra))
          expect(seen.headers['content-length']).toBe(String(size))
        expect(seen.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
      }
    },
  )

  it('passes response trailers, HEAD, 204 and an empty body', async () => {
    const u1 = await backend({
      protocol,
      script: ({ path }) =>
        path === '/trailers'
          ? { chunks: ['x'], trailers: { 'x-sum': '7' } }
          : path === '/204'
            ? { status: 204 }
            : { headers: { 'content-length': '5' }, chunks: ['hello'] },
    })
    const proxy = await plane({
      backends: { u1: [u1.port] },
      ...(protocol === 'h2c' ? { cluster: HTTP2_CLUSTER } : {}),
    })
    const port = portOf(proxy)
    expect((await send({ port, path: '/trailers' })).trailers).toEqual({ 'x-sum': '7' })
    expect((await send({ port, path: '/204' })).status).toBe(204)
    const head = await send({ port, method: 'HEAD' })
    expect(head.headers['content-length']).toBe('5')
    expect(head.body.length).toBe(0)
    expect((await send({ port })).body.toString()).toBe('hello')
  })
})

describe('the proxy', () => {
  it('keeps one HTTP/2 connection open over many requests and reuses upstream connections', async () => {
    const u1 = await backend()
    const proxy = await plane({ backends: { u1: [u1.port] } })
    const client = openHttp2(portOf(proxy))
    for (let i = 0; i < 20; i++) expect((await client.send({ body: `n${i}` })).status).toBe(200)
    client.close()
    expect(u1.requests.length).toBe(20)
  })

  it('refuses what it cannot serve and changes nothing', async () => {
    const u1 = await backend()
    const options = { backends: { u1: [u1.port] } }
    const proxy = await plane(options)
    const { listeners, ...rest } = planeResources({
      ...options,
      manager: {
        httpFilters: [
          {
            name: 'x',
            typedConfig: {
              '@type':
                'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
            },
          },
        ],
      },
    })
    await expect(proxy.update({ listeners, ...rest })).rejects.toMatchObject({
      code: 'EMBEDDED_CONFIGURATION',
      problems: expect.arrayContaining([expect.stringContaining('x is not served')]),
    })
    expect((await sendHttp1({ port: portOf(proxy) })).status).toBe(200)
  })
})
