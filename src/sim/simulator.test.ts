import { createHash } from 'node:crypto'
import { connect as connectHttp2 } from 'node:http2'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import type { SimulatorOptions } from './options.ts'
import { SimulatorOptionsError } from './options.ts'
import { type Simulator, startSimulator } from './simulator.ts'

const running: Simulator[] = []

async function start(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = await startSimulator({ port: 0, speed: 100, ...options })
  running.push(simulator)
  return simulator
}

afterEach(async () => {
  await Promise.all(running.splice(0).map(simulator => simulator.close()))
})

const post = (simulator: Simulator, path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(simulator.url + path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  })

interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: number
  }
}

async function errorOf(response: Response): Promise<ErrorBody['error'] & { status: number }> {
  const { error } = (await response.json()) as ErrorBody
  expect(error.code).toBe(response.status)
  return { status: response.status, ...error }
}

const hello = { model: 'llama', messages: [{ role: 'user', content: 'Hello there' }] }

/** Waits until `condition` holds; a test that waits in vain fails by its own time limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2)
}

/** Sends raw bytes, piece by piece, and resolves with everything that came back until the peer closed. */
function raw(port: number, pieces: readonly (string | Uint8Array)[]): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  socket.on('error', () => {})
  socket.on('close', () => resolve(text))
  void (async () => {
    for (const piece of pieces) {
      socket.write(piece)
      await sleep(1)
    }
  })()
  return promise
}

describe('bad requests', () => {
  it('are told what is wrong, in the shape of an OpenAI error', async () => {
    const simulator = await start({ maxModelLen: 64 })
    const chat = async (body: unknown) => errorOf(await post(simulator, '/v1/chat/completions', body))
    const complete = async (body: unknown) => errorOf(await post(simulator, '/v1/completions', body))
    const { messages } = hello
    expect(await chat({ model: 'gpt-9', messages })).toEqual({
      status: 404,
      message: 'The model `gpt-9` does not exist.',
      type: 'NotFoundError',
      param: 'model',
      code: 404,
    })
    expect(await chat({ model: '', messages })).toMatchObject({ status: 404 })
    const bad: [unknown, string | null][] = [
      ['{"model":', null],
      ['', null],
      ['[]', null],
      ['"text"', null],
      [{ model: 'llama' }, 'messages'],
      [{ model: 5, messages }, 'model'],
      [{ messages: [] }, 'messages'],
      [{ messages: 'hello' }, 'messages'],
      [{ messages: [{ content: 'x' }] }, 'messages'],
      [{ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }, 'messages'],
      [{ messages, max_tokens: 'many' }, 'max_tokens'],
      [{ messages, max_tokens: 0 }, 'max_tokens'],
      [{ messages, max_tokens: 1000 }, 'max_tokens'],
      [{ messages, n: 2 }, 'n'],
      [{ messages, temperature: -1 }, 'temperature'],
      [{ messages, stream: 'yes' }, 'stream'],
      [{ messages, stream_options: { include_usage: true } }, 'stream_options'],
      [{ messages, response_format: { type: 'json_object' } }, 'response_format'],
      [{ messages, tool_choice: 'required' }, 'tool_choice'],
      [{ messages, logprobs: true }, 'logprobs'],
      [{ messages: [{ role: 'user', content: 'long '.repeat(100) }] }, 'prompt'],
    ]
    for (const [body, param] of bad) {
      expect(await chat(body)).toMatchObject({ status: 400, type: 'BadRequestError', param })
    }
    for (const prompt of [undefined, '', [], [''], ['a', 'b'], 5, [1.5], [-1]]) {
      expect(await complete({ prompt })).toMatchObject({ status: 400, param: 'prompt' })
    }
    expect(await complete({ prompt: [1], echo: true })).toMatchObject({ status: 400, param: 'echo' })
    expect((await post(simulator, '/v1/chat/completions', { messages, max_tokens: 3 })).status).toBe(200)
  })

  it('get 404 and 405 where nothing is served', async () => {
    const simulator = await start()
    expect(await errorOf(await fetch(`${simulator.url}/nothing`))).toMatchObject({ status: 404, type: 'NotFoundError' })
    expect(await errorOf(await fetch(`${simulator.url}/toString`))).toMatchObject({ status: 404 })
    expect(await errorOf(await fetch(`${simulator.url}/v1/chat/completions`))).toMatchObject({ status: 405 })
    expect((await fetch(`${simulator.url}/health`)).status).toBe(200)
  })

  it('get 413 beyond the cap, told or found out, and the server goes on', async () => {
    const simulator = await start({ maxBodyBytes: 1000 })
    expect(await errorOf(await post(simulator, '/sim/echo', 'x'.repeat(1001)))).toMatchObject({ status: 413 })
    const chunks = [...Array.from({ length: 40 }, () => `64\r\n${'x'.repeat(100)}\r\n`), '0\r\n\r\n']
    const head = 'POST /sim/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n'
    expect(await raw(simulator.port, [head, ...chunks])).toMatch(/^HTTP\/1\.1 413 /)
    expect((await post(simulator, '/sim/echo', 'x'.repeat(1000))).status).toBe(200)
  })

  it('that are no HTTP do no harm', async () => {
    const simulator = await start({ maxHeaderBytes: 2048 })
    expect(await raw(simulator.port, ['\u0000\u0001 what?\r\n\r\n'])).toMatch(/^HTTP\/1\.1 400 /)
    expect(await raw(simulator.port, [`GET / HTTP/1.1\r\nx: ${'y'.repeat(5000)}\r\n\r\n`])).toMatch(/^HTTP\/1\.1 431 /)
    expect(await raw(simulator.port, ['PRI nonsense that is no HTTP/2 at all\r\n\r\n'])).not.toContain('HTTP/1.1 200')
    expect(await raw(simulator.port, ['GET //[ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'])).toMatch(
      /^HTTP\/1\.1 404 /,
    )
    expect((await fetch(`${simulator.url}/health`)).status).toBe(200)
  })
})

describe('the request log', () => {
  it('has body, digest, headers and trailers as they came', async () => {
    const simulator = await start({ name: 'blue' })
    const body = `{"messages" : [{"role":"user","content":"héllo"}], "max_tokens":1}`
    const digest = createHash('sha256').update(body).digest('hex')
    const { promise, resolve } = Promise.withResolvers<Record<string, unknown>>()
    const out = httpRequest(`${simulator.url}/v1/chat/completions?x=1`, {
      method: 'POST',
      headers: { 'X-Thing': ['1', '2'], trailer: 'x-sum', 'transfer-encoding': 'chunked' },
    })
    out.on('response', response => resolve(response.resume().headers))
    out.addTrailers({ 'x-sum': 'abc' })
    // One byte a chunk.
    for (const byte of Buffer.from(body)) out.write(Buffer.of(byte))
    out.end()
    expect(await promise).toMatchObject({ 'x-sim-replica': 'blue', 'x-sim-body-sha256': digest })
    const answer = (await (await fetch(`${simulator.url}/sim/requests?limit=1`)).json()) as { requests: object[] }
    expect(answer.requests).toHaveLength(1)
    expect(answer.requests[0]).toMatchObject({
      index: 1,
      replica: 'blue',
      method: 'POST',
      path: '/v1/chat/completions',
      httpVersion: '1.1',
      headers: { 'x-thing': '1, 2' },
      trailers: { 'x-sum': 'abc' },
      bodyBytes: Buffer.byteLength(body),
      bodySha256: digest,
      model: 'llama',
      status: 200,
      completionTokens: 1,
      finishReason: 'length',
    })
    const { timings, rawHeaders } = simulator.requests()[0]!
    expect(timings.scheduledMs!).toBeLessThan(timings.firstTokenMs!)
    expect(rawHeaders.filter(([name]) => name === 'X-Thing').map(([, value]) => value)).toEqual(['1', '2'])
  })

  it('remembers the last ones only, and forgets on request', async () => {
    const simulator = await start({ recordedRequests: 3 })
    for (let i = 0; i < 8; i++) await post(simulator, '/sim/echo', String(i))
    await fetch(`${simulator.url}/metrics`)
    expect(simulator.requests().map(({ index }) => index)).toEqual([6, 7, 8])
    expect((await fetch(`${simulator.url}/sim/requests?limit=0`)).status).toBe(400)
    await fetch(`${simulator.url}/sim/requests`, { method: 'DELETE' })
    expect(simulator.requests()).toEqual([])
  })

  it('shows a request that its client gave up, whose blocks are free again', async () => {
    const simulator = await start({ speed: 1 })
    const controller = new AbortController()
    const body = JSON.stringify({ ...hello, stream: true, max_tokens: 5000, ignore_eos: true })
    const path = `${simulator.url}/v1/chat/completions`
    const response = await fetch(path, { method: 'POST', body, signal: controller.signal })
    await response.body!.getReader().read()
    expect(simulator.load().running).toBe(1)
    controller.abort()
    await until(() => simulator.load().running === 0)
    expect(simulator.load()).toEqual({ running: 0, waiting: 0, kvUsage: 0 })
    expect(simulator.requests()[0]).toMatchObject({ outcome: 'cut', finishReason: 'abort', status: 200 })
  })
})

describe('answers of any shape', () => {
  it('come as asked for', async () => {
    const simulator = await start()
    const ask = (query: string, method = 'GET') => fetch(`${simulator.url}/sim/respond?${query}`, { method })
    for (const query of [
      'bytes=0',
      'bytes=100003&seed=4',
      'bytes=5000&chunk=1',
      'bytes=70000&chunk=9999&trailers=true',
    ]) {
      const response = await ask(query)
      const bytes = Buffer.from(await response.arrayBuffer())
      expect(bytes.length).toBe(Number(/bytes=(\d+)/.exec(query)?.[1]))
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(response.headers.get('x-sim-response-sha256'))
    }
    expect((await ask('status=204')).status).toBe(204)
    const head = await ask('bytes=10', 'HEAD')
    expect([head.headers.get('content-length'), await head.text()]).toEqual(['10', ''])
    expect((await ask('bytes=-1')).status).toBe(400)
    expect((await ask('other=1')).status).toBe(400)
    expect((await ask('trailers=true&bytes=1')).status).toBe(400)
    expect(await (await post(simulator, '/sim/echo', 'back')).text()).toBe('back')
  })

  it('end with the trailer', async () => {
    const simulator = await start()
    const { promise, resolve } = Promise.withResolvers<NodeJS.Dict<string>>()
    httpRequest(`${simulator.url}/sim/respond?bytes=10&chunk=3&trailers=true`, response => {
      response.resume().on('end', () => resolve(response.trailers))
    }).end()
    expect(await promise).toEqual({ 'x-sim-trailer': expect.stringMatching(/^[0-9a-f]{64}$/) })
  })
})

describe('HTTP/2 with prior knowledge', () => {
  it('serves the same, on the same port', async () => {
    const simulator = await start()
    const session = connectHttp2(simulator.url)
    const body = JSON.stringify({ ...hello, stream: true, max_tokens: 3 })
    const stream = session.request({ ':method': 'POST', ':path': '/v1/chat/completions' })
    stream.end(body)
    let text = ''
    for await (const chunk of stream.setEncoding('utf8')) text += String(chunk)
    expect(text).toMatch(/^data: .*\n\n(data: .*\n\n){3}data: \[DONE\]\n\n$/)
    await until(() => simulator.requests()[0]?.outcome !== 'open')
    expect(simulator.requests()[0]).toMatchObject({
      httpVersion: '2.0',
      outcome: 'answered',
      status: 200,
      bodyBytes: body.length,
    })
    session.close()
  })

  it('recognises a preface that comes byte by byte, and an HTTP/1 request too', async () => {
    const simulator = await start()
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])
    const goAway = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    const bytes = [...preface, ...settings, ...goAway].map(byte => Buffer.of(byte))
    const answer = Buffer.from(await raw(simulator.port, bytes), 'latin1')
    // A SETTINGS frame on stream 0.
    expect([...answer.subarray(3, 5), ...answer.subarray(5, 9)]).toEqual([4, 0, 0, 0, 0, 0])
    const request = 'POST /sim/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi'
    expect(await raw(simulator.port, request.split(''))).toMatch(/^HTTP\/1\.1 200 [\s\S]*\r\n\r\nhi$/)
  })
})

describe('start and end', () => {
  it('refuses wrong options, all of them', async () => {
    const options = { port: -1, blockSize: 0, maxNumSeqs: 1.5, models: [], hue: 'blue' } as SimulatorOptions
    const error = await startSimulator(options).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(SimulatorOptionsError)
    const { messages } = error as SimulatorOptionsError
    for (const name of ['port', 'blockSize', 'maxNumSeqs', 'models', 'hue']) {
      expect(messages.some(message => message.includes(name))).toBe(true)
    }
    await expect(startSimulator({ numGpuBlocks: 2, maxModelLen: 33 })).rejects.toThrow('does not fit')
  })

  it('says when the port is taken', async () => {
    const { port } = await start()
    await expect(startSimulator({ port })).rejects.toThrow('EADDRINUSE')
  })

  it('cuts what is open when it closes, and can be closed again', async () => {
    const simulator = await start({ speed: 1 })
    const pending = post(simulator, '/v1/chat/completions', { ...hello, max_tokens: 5000, ignore_eos: true })
    const outcome = pending.then(
      () => 'answered',
      () => 'cut',
    )
    await until(() => simulator.load().running === 1)
    await simulator.close()
    await simulator.close()
    expect(await outcome).toBe('cut')
  })
})
