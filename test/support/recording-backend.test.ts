import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from '@jest/globals'
import {
  AbortedByTest,
  type ClientRequest,
  type ClientResponse,
  CutOffResponse,
  openHttp2,
  sendHttp1,
  sendHttp2,
  sendRaw,
} from './http-client.ts'
import { bodyRecord } from './recorded-request.ts'
import { type RecordingBackend, startRecordingBackend } from './recording-backend.ts'
import { jsonReply, sseReply } from './reply.ts'
import { waitFor } from './wait-for.ts'

describe.each([
  ['http1', sendHttp1],
  ['h2c', sendHttp2],
] as const)('recording backend and client, %s', (protocol, sendTo) => {
  let backend: RecordingBackend
  afterEach(() => backend.close())

  const start = async (): Promise<void> => {
    backend = await startRecordingBackend({ name: 'b1', protocol })
  }
  const send = (request: Omit<ClientRequest, 'port'> = {}): Promise<ClientResponse> =>
    sendTo({ port: backend.port, ...request })

  it('answers by itself and records a GET', async () => {
    await start()
    const response = await send({ path: '/x?y=1', headers: { 'x-a': '1' } })
    expect(response.status).toBe(200)
    expect(JSON.parse(response.body.toString())).toEqual({ backend: 'b1' })
    expect(backend.requests).toHaveLength(1)
    expect(await backend.completed()).toMatchObject({
      method: 'GET',
      path: '/x?y=1',
      httpVersion: protocol === 'http1' ? '1.1' : '2.0',
      headers: { 'x-a': '1' },
      body: { length: 0 },
      trailers: {},
      aborted: false,
    })
  })

  it.each([
    ['at once', { framing: 'content-length' }],
    ['chunked', { framing: 'chunked' }],
    ['byte by byte', { framing: 'chunked', writeBytes: 1 }],
    ['with trailers', { trailers: { 'x-sum': '7' } }],
  ] as const)('records the exact body, sent %s', async (_, how) => {
    await start()
    const body = randomBytes(300)
    await send({ body, ...how })
    const record = await backend.completed()
    expect(record.body).toEqual(bodyRecord(body))
    expect(record.body.bytes?.equals(body)).toBe(true)
    expect(record.headers['content-length']).toBe(
      'framing' in how && how.framing === 'content-length' ? '300' : undefined,
    )
    expect(record.trailers).toEqual('trailers' in how ? how.trailers : {})
  })

  it('keeps only length and hash of long bodies', async () => {
    await start()
    const body = randomBytes(3 << 20)
    await send({ body, writeBytes: 100_000 })
    const record = await backend.completed()
    expect(record.body).toEqual({ ...bodyRecord(body), bytes: undefined })
  })

  it('knows that a request was cut off', async () => {
    await start()
    await expect(send({ body: 'x'.repeat(100), abortAfterBytes: 40 })).rejects.toBeInstanceOf(AbortedByTest)
    await waitFor('the abort', () => backend.requests[0]?.aborted)
    expect(backend.requests[0]).toMatchObject({ complete: false, body: { length: 40 } })
  })

  it('sends server-sent events one by one', async () => {
    await start()
    backend.script(() => sseReply(['{"a":1}', '[DONE]'], 30))
    const parts: string[] = []
    const response = await send({ body: '{}', onData: part => parts.push(part.toString()) })
    expect(parts).toEqual(['data: {"a":1}\n\n', 'data: [DONE]\n\n'])
    expect(response.headers['content-type']).toBe('text/event-stream')
  })

  it('sends trailers, no body, other statuses, and nothing at HEAD', async () => {
    await start()
    backend.script(() => ({ chunks: ['a', 'b'], trailers: { 'x-end': 'yes' } }))
    expect(await send()).toMatchObject({ status: 200, body: Buffer.from('ab'), trailers: { 'x-end': 'yes' } })
    backend.script(() => ({ contentLength: true }))
    expect(await send()).toMatchObject({ headers: { 'content-length': '0' }, body: Buffer.alloc(0) })
    backend.script(() => jsonReply({ error: 'no' }, 503))
    expect((await send({ body: 'x' })).status).toBe(503)
    const head = await send({ method: 'HEAD' })
    expect(head).toMatchObject({ status: 503, headers: { 'content-length': '14' }, body: Buffer.alloc(0) })
  })

  it('answers early, while the request still comes', async () => {
    await start()
    backend.script(() => ({ early: true, status: 413, delayMs: 1 }))
    const response = await send({ body: 'x'.repeat(20), writeBytes: 1, gapMs: 5 })
    expect(response.status).toBe(413)
  })

  it('cuts the answer off, never ends it, or never begins it', async () => {
    await start()
    backend.script(() => ({ chunks: ['abc'], after: 'destroy' }))
    const error: unknown = await send().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(CutOffResponse)
    expect((error as CutOffResponse).partial.body.toString()).toBe('abc')
    backend.script(() => ({ chunks: ['abc'], after: 'hang' }))
    await expect(send({ timeoutMs: 100 })).rejects.toThrow()
    backend.script(() => ({ silent: true }))
    await expect(send({ timeoutMs: 100 })).rejects.toThrow('no complete answer within 0.1 s')
    backend.forget()
    expect(backend.requests).toEqual([])
  })
})

describe('sendRaw', () => {
  it('writes what it is given and returns what comes', async () => {
    const backend = await startRecordingBackend()
    const text = 'POST /r HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc'
    const closed = await sendRaw(backend.port, text.split(''), { gapMs: 0 })
    expect(closed.toString()).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*\{"backend":"backend"\}$/)
    const open = await sendRaw(backend.port, [text.replace('close', 'keep-alive')], { until: got => got.includes('}') })
    expect(open.toString()).toContain('200 OK')
    expect((await backend.completed(1)).body.bytes?.toString()).toBe('abc')
    await expect(sendRaw(backend.port, ['GET / HT'], { timeoutMs: 50 })).rejects.toThrow('no end within the time')
    await backend.close()
  })
})

describe('openHttp2', () => {
  it('carries many requests on one connection', async () => {
    const backend = await startRecordingBackend({ protocol: 'h2c' })
    const connection = openHttp2(backend.port)
    const bodies = Array.from({ length: 20 }, (_, i) => `body ${i}`)
    await Promise.all(bodies.map(body => connection.send({ body })))
    expect(backend.requests.map(request => request.body.bytes?.toString())).toEqual(bodies)
    connection.close()
    await backend.close()
  })
})
