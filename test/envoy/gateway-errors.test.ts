import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createServer, type Server } from 'node:net'
import { noEndpoints, openAiErrorBody } from '../../src/llm/openai-error.ts'
import { describeOnEnvoy, describeOnPlanes } from '../support/envoy-suite.ts'
import { freePort } from '../support/free-ports.ts'
import { type ClientRequest, type ClientResponse, sendHttp1, sendHttp2, sendRaw } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { ProcessRig } from '../support/process-rig.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

type Sent = Omit<ClientRequest, 'port'>

const JSON_TYPE = { 'content-type': 'application/json' }
const post = (path: string, body = '{"model":"m"}'): Sent => ({ path, headers: JSON_TYPE, body })

function backendYaml(name: string, host: string, port: number): string {
  return `
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: ${name} }
spec: { endpoints: [{ address: "${host}", port: ${port} }] }
`
}

interface Rule {
  readonly path: string
  readonly backend?: string
  /** Only for this model: then the body decides. */
  readonly model?: string
  readonly more?: string
}

/** An HTTPRoute to SignalboxBackends. */
function backendRouteYaml(rules: readonly Rule[]): string {
  const items = rules.map(({ path, backend, model, more }) => {
    const header = model === undefined ? '' : `, headers: [{ name: x-gateway-model-name, value: ${model} }]`
    const refs =
      backend === undefined ? '' : `backendRefs: [{ kind: SignalboxBackend, group: signalbox.dev, name: ${backend} }]`
    return `
    - matches: [{ path: { value: ${path} }${header} }]
      ${refs}
      ${more ?? ''}`
  })
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: backends }
spec:
  parentRefs: [{ name: gateway }]
  rules:${items.join('')}
`
}

/** Exactly the body that an OpenAI client expects, and the headers around it. */
function expectOpenAiError(response: ClientResponse, status: number, type: string, code: string): void {
  expect([response.status, response.headers['content-type'], response.body.toString()]).toEqual([
    status,
    'application/json',
    expect.stringContaining(`"code":"${code}"`),
  ])
  expect(JSON.parse(response.body.toString())).toEqual({
    error: { message: expect.stringMatching(/^[A-Z].*\.$/), type, param: null, code },
  })
  expect(response.headers['content-length']).toBe(String(response.body.length))
  expect(response.headers['retry-after']).toBe(status === 503 ? '1' : undefined)
}

/** Sends bytes and returns the answer up to the end of an error's body. */
async function answerTo(port: number, bytes: string): Promise<string> {
  const answer = await sendRaw(port, [bytes], { until: received => received.includes('}}') })
  return answer.toString()
}

/** Ends each connection with RST once a request came. */
async function startResetter(): Promise<Server> {
  const server = createServer(socket => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.resetAndDestroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return server
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

describeOnPlanes('errors that the data plane makes itself', plane => {
  let backend: RecordingBackend
  let resetter: Server
  let rig: Rig

  beforeAll(async () => {
    backend = await startRecordingBackend({
      script: ({ path }) => (path.endsWith('/wait') ? { silent: true } : jsonReply({ ok: true })),
    })
    resetter = await startResetter()
    const { hostname, port } = new URL(`http://${backend.address}`)
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml({ addresses: [`127.0.0.1:${await freePort()}`], failureMode: 'FailClose' }),
        routeYaml({ models: { m: 'pool' } }),
        backendYaml('ok', hostname, Number(port)),
        backendYaml('reset', '127.0.0.1', portOf(resetter)),
        backendYaml('refused', '127.0.0.1', await freePort()),
        backendYaml('unresolved', 'no-such-host.invalid', 80),
        backendRouteYaml([
          { path: '/ok', backend: 'ok' },
          { path: '/reset', backend: 'reset' },
          { path: '/refused', backend: 'refused' },
          { path: '/unresolved', backend: 'unresolved' },
          { path: '/slow', backend: 'ok', more: 'timeouts: { request: 500ms }' },
          { path: '/quiet', backend: 'ok' },
          { path: '/nobody', backend: 'missing' },
          { path: '/half', backend: 'missing }, { kind: SignalboxBackend, group: signalbox.dev, name: ok' },
          { path: '/moved', more: 'filters: [{ type: RequestRedirect, requestRedirect: { hostname: there.test } }]' },
          { path: '/decided/reset', backend: 'reset', model: 'm' },
          { path: '/decided/slow', backend: 'ok', model: 'm', more: 'timeouts: { request: 500ms }' },
          { path: '/decided/nobody', backend: 'missing', model: 'm' },
        ]),
        parametersYaml('{ timeouts: { idle: 1500ms } }'),
      ),
    })
    await rig.decides('/decided/reset')
  })
  afterAll(async () => {
    await rig?.stop()
    await backend?.close()
    resetter?.close()
  })
  beforeEach(() => backend.forget())

  it.each([
    ['an endpoint that breaks the connection', '/reset', 503, 'endpoint_unavailable'],
    ['an endpoint that refuses the connection', '/refused', 503, 'endpoint_unavailable'],
    // The embedded data plane looks the name up for each connection.
    ['a host that has no address', '/unresolved', 503, plane === 'embedded' ? 'endpoint_unavailable' : 'no_endpoints'],
    ['an answer that takes too long', '/slow/wait', 504, 'endpoint_timeout'],
    ['silence on both sides', '/quiet/wait', 504, 'stream_timeout'],
    ['no backend', '/nobody', 500, 'no_backend'],
    ['an endpoint that breaks the connection, decided', '/decided/reset', 503, 'endpoint_unavailable'],
    ['an answer that takes too long, decided', '/decided/slow/wait', 504, 'endpoint_timeout'],
    ['no backend, decided', '/decided/nobody', 500, 'no_backend'],
  ])('%s', async (_what, path, status, code) => {
    for (const send of [sendHttp1, sendHttp2])
      expectOpenAiError(await send({ port: rig.port, ...post(path) }), status, 'server_error', code)
  })

  it('half of the backends missing: their share has no backend', async () => {
    const response = await waitFor('the share of the missing one', async () => {
      const answer = await sendHttp1({ port: rig.port, ...post('/half') })
      return answer.status === 200 ? undefined : answer
    })
    expectOpenAiError(response, 500, 'server_error', 'no_backend')
  })

  it('an upload that stops is a 408', async () => {
    const head = `POST /ok HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"model`
    const answer = await answerTo(rig.port, head)
    expect(answer).toMatch(/^HTTP\/1\.1 408 /)
    expect(answer).toContain('content-type: application/json')
    expect(answer).toContain('"code":"request_timeout"')
  })

  it('answers of Signalbox stay as they are', async () => {
    for (const send of [sendHttp1, sendHttp2]) {
      const response = await send({ port: rig.port, ...post('/v1/x') })
      expectOpenAiError(response, 503, 'server_error', 'no_endpoints')
      expect(response.body.toString()).toBe(openAiErrorBody(noEndpoints()).toString())
      const models = await send({ port: rig.port, path: '/v1/models' })
      expect([models.status, JSON.parse(models.body.toString())]).toEqual([200, { object: 'list', data: [] }])
    }
  })

  it('redirects have no body', async () => {
    const { status, headers, body } = await sendHttp1({ port: rig.port, path: '/moved/x' })
    expect([status, headers['content-type'], body.length]).toEqual([302, undefined, 0])
    expect(headers['location']).toContain('://there.test')
  })

  it("answers of backends are the backends' own", async () => {
    const response = await sendHttp1({ port: rig.port, ...post('/ok') })
    expect([response.status, response.body.toString()]).toEqual([200, '{"ok":true}'])
  })

  it('HEAD gets the headers alone', async () => {
    const response = await sendHttp1({ port: rig.port, path: '/reset', method: 'HEAD' })
    expect([response.status, response.headers['content-type'], response.body.length]).toEqual([
      503,
      'application/json',
      0,
    ])
  })

  it('a connection that wants to be something else is refused', async () => {
    const answer = await answerTo(
      rig.port,
      'GET /ok HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n',
    )
    expect(answer).toMatch(/^HTTP\/1\.1 403 /)
    expect(answer).toContain('"code":"upgrade_refused"')
  })
})

describeOnEnvoy('errors that Envoy makes where nobody decides', envoy => {
  let backend: RecordingBackend
  let rig: ProcessRig

  beforeAll(async () => {
    backend = await startRecordingBackend({ script: () => jsonReply({ ok: true }) })
    rig = await ProcessRig.start({
      envoy,
      config: documents(
        GATEWAY,
        poolYaml({ addresses: [backend.address], annotations: { 'signalbox.dev/unknown-models': 'Forward' } }),
        routeYaml({ name: 'look', prefix: '/look', models: { m: 'pool' } }),
        routeYaml({
          name: 'duplex',
          prefix: '/duplex',
          models: { m: 'pool' },
          annotations: { 'signalbox.dev/body': 'full-duplex' },
        }),
        parametersYaml('{ timeouts: { message: 500ms } }'),
      ),
    })
    await passes()
  })
  afterAll(async () => {
    await rig?.stop()
    await backend?.close()
  })

  const passes = () =>
    waitFor('requests to pass', async () => (await sendHttp1({ port: rig.port, ...post('/look') })).status === 200)
  const refused = async (path: string, status: number, code: string) => {
    for (const send of [sendHttp1, sendHttp2])
      expectOpenAiError(await send({ port: rig.port, ...post(path) }), status, 'server_error', code)
  }

  describe('with a Signalbox that hangs', () => {
    it('504, and 503 once Envoy has noticed', async () => {
      process.kill(rig.serve.pid, 'SIGSTOP')
      try {
        await refused('/look', 504, 'decision_timeout')
        // The connection's end is noticed, too, before the server counts as unhealthy; the next stream goes to a new one then.
        await waitFor('Envoy to notice', async () => {
          for (let i = 0; i < 3; i++)
            if ((await sendHttp1({ port: rig.port, ...post('/look') })).status !== 503) return false
          return true
        })
        await refused('/look', 503, 'decision_unavailable')
      } finally {
        process.kill(rig.serve.pid, 'SIGCONT')
      }
      await passes()
    })
  })

  describe('with a Signalbox that is gone', () => {
    it.each(['/look', '/duplex'])('503: %s', async path => {
      await rig.serve.end('SIGKILL')
      await refused(path, 503, 'decision_unavailable')
      await rig.startSignalbox()
      await passes()
    })
  })

  it.each([
    ['no HTTP', 'GET /\u0001 HTTP/1.1\r\nhost: a\r\n\r\n', 400, 'bad_request'],
    ['no host', 'GET /look HTTP/1.1\r\n\r\n', 400, 'bad_request'],
    ['a zero byte in the path', 'GET /look/%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n', 400, 'bad_request'],
    ['HTTP/1.0', 'GET /look HTTP/1.0\r\n\r\n', 426, 'bad_request'],
    ['headers of 100 KB', `GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`, 431, 'headers_too_large'],
    ['CONNECT', 'CONNECT a.test:80 HTTP/1.1\r\nhost: a.test:80\r\n\r\n', 404, 'route_not_found'],
  ])('%s', async (_what, bytes, status, code) => {
    const answer = await answerTo(rig.port, bytes)
    expect(answer).toContain(`HTTP/1.1 ${status} `)
    const [head, body] = answer.split('\r\n\r\n')
    expect(head).toContain('content-type: application/json')
    expect(JSON.parse(body!)).toEqual({
      error: { message: expect.any(String), type: 'invalid_request_error', param: null, code },
    })
  })

  it('gRPC clients get a status and a text, not JSON', async () => {
    await rig.serve.end('SIGKILL')
    const response = await sendHttp2({
      port: rig.port,
      path: '/look',
      headers: { 'content-type': 'application/grpc', te: 'trailers' },
      body: 'x',
    })
    await rig.startSignalbox()
    expect([response.status, response.headers['content-type'], response.headers['grpc-status']]).toEqual([
      200,
      'application/grpc',
      '14',
    ])
    expect(response.headers['grpc-message'] ?? '').not.toContain('{')
  })
})
