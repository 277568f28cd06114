import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { JsonObject } from '@bufbuild/protobuf'
import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { isAtLeast } from '../../src/cli/envoy/envoy-version.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
} from '../../src/gen/grpc/health/v1/health_pb.ts'
import { selfSigned } from '../../src/grpc/self-signed.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { AbortedByTest, sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { gatewayBootstrap, type GatewayListener } from '../support/gateway-bootstrap.ts'
import { documents, poolYaml } from '../support/pool-config.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { sseReply } from '../support/reply.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const DESTINATION = 'x-gateway-destination-endpoint'
const duplex: JsonObject = {
  processingMode: {
    requestHeaderMode: 'SEND',
    responseHeaderMode: 'SEND',
    requestBodyMode: 'FULL_DUPLEX_STREAMED',
    responseBodyMode: 'FULL_DUPLEX_STREAMED',
    requestTrailerMode: 'SEND',
    responseTrailerMode: 'SEND',
  },
}
const mode = (requestBodyMode: string, responseBodyMode: string): JsonObject => ({
  processingMode: { requestHeaderMode: 'SEND', responseHeaderMode: 'SEND', requestBodyMode, responseBodyMode },
})

/** What others configure, by listener. */
const FILTERS: Readonly<Record<string, JsonObject>> = {
  'full duplex': duplex,
  buffered: mode('BUFFERED', 'BUFFERED'),
  look: { ...mode('STREAMED', 'STREAMED'), sendBodyWithoutWaitingForHeaderResponse: true },
  override: { ...mode('NONE', 'NONE'), allowModeOverride: true },
}
const BODY_MODES = Object.keys(FILTERS)

const chat = (size: number, model: string): string =>
  `{"messages":[{"role":"user","content":"${'words and '.repeat(size / 10)}"}],"model":"${model}"}`

interface LogEntry {
  readonly path: string
  readonly status: number
  readonly details: string
  readonly metadata: string | null
  readonly upstream: string | null
  readonly cluster: string | null
}

describeOnEnvoy('the endpoint picker of a gateway that it does not configure', envoyBinary => {
  let folder: TempFolder
  let backends: RecordingBackend[]
  let special: RecordingBackend
  let envoy: EnvoyProcess
  const servers: Signalbox[] = []
  const ports = new Map<string, number>()
  const response = Buffer.from(chat(300_000, 'answer'))

  const serve = async (...args: readonly string[]): Promise<Signalbox> => {
    const config = [`--config=${join(folder.path, 'config.yaml')}`, '--pool=default/pool', '--xds=off']
    const always = ['--admin=127.0.0.1:0', '--drain=1', '--log-level=silent']
    const signalbox = new Signalbox(parseServeOptions([...config, ...always, ...args]), createLog('silent'))
    servers.push(signalbox)
    await signalbox.start()
    return signalbox
  }
  const port = (listener: string) => ports.get(listener)!
  const all = () => [...backends, special].flatMap(backend => backend.requests)
  const requests = () => all().filter(request => request.path !== '/metrics' && request.path !== '/v1/models')
  const post = (listener: string, body: string, more: Partial<Parameters<typeof sendHttp1>[0]> = {}) =>
    sendHttp1({
      port: port(listener),
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json' },
      body,
      ...more,
    })
  const logged = (path: string) =>
    waitFor(`the access log of ${path}`, async () => {
      const lines = (await readFile(join(folder.path, 'access.log'), 'utf8')).split('\n').filter(line => line !== '')
      return lines.map(line => JSON.parse(line) as LogEntry).find(entry => entry.path === path)
    })
  const inFlight = async () => {
    const pools = (await (await fetch(`http://${servers[0]!.adminAddress}/pools`)).json()) as Record<
      string,
      { inFlight: number }[]
    >
    return pools['default/pool']!.reduce((sum, endpoint) => sum + endpoint.inFlight, 0)
  }
  const metric = async (name: string) => {
    const page = await (await fetch(`http://${servers[0]!.adminAddress}/metrics`)).text()
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(page)?.[1])
  }
  const nothingIsLeft = () =>
    waitFor('nothing to be left', async () => {
      const left = [
        await inFlight(),
        await metric('signalbox_ext_proc_open_exchanges'),
        await metric('signalbox_ext_proc_held_bytes'),
      ]
      if (left.some(value => value !== 0)) throw new Error(left.join(' '))
      return true
    })

  beforeAll(async () => {
    folder = await makeTempFolder()
    const start = () =>
      startRecordingBackend({
        script: ({ path }) => {
          if (path === '/metrics' || path === '/v1/models') return { status: 404 }
          if (path.startsWith('/sse'))
            return sseReply(
              Array.from({ length: 20 }, (_, i) => `event ${i}`),
              50,
            )
          if (path.startsWith('/empty')) return { status: 204 }
          if (path.startsWith('/trailers')) return { chunks: ['some ', 'text'], trailers: { 'x-usage': '17' } }
          return { chunks: [response], contentLength: !path.startsWith('/chunked') }
        },
      })
    backends = await Promise.all([start(), start(), start()])
    special = await start()
    const addresses = backends.map(({ address }) => address)
    await writeFile(
      join(folder.path, 'config.yaml'),
      documents(
        poolYaml({ addresses }),
        `apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: rewrite }
spec:
  poolRef: { name: pool }
  rules:
    - matches: [{ model: { value: alias } }]
      targets: [{ modelRewrite: the-real-model }]`,
      ),
    )
    const own = selfSigned(['localhost'])
    const client = selfSigned(['gateway'])
    const file = async (name: string, text: string) => {
      await writeFile(join(folder.path, name), text)
      return join(folder.path, name)
    }
    const pair = `${await file('tls.crt', own.cert)},${await file('tls.key', own.key)}`
    const clientCa = await file('clients.crt', client.cert)
    const socket = join(folder.path, 'ext-proc.sock')
    const plain = await serve('--ext-proc=127.0.0.1:0', '--mode-override=buffered')
    const tls = await serve('--ext-proc=127.0.0.1:0', '--tls=self-signed')
    const mutual = await serve('--ext-proc=127.0.0.1:0', `--tls=${pair}`, `--client-ca=${clientCa}`)
    await serve(`--ext-proc=unix:${socket}`)
    const subset = (name: string, value: JsonObject[string]): GatewayListener => ({
      name: `subset: ${name}`,
      peer: 'plain',
      filter: duplex,
      subset: value,
    })
    const listeners: GatewayListener[] = [
      ...Object.entries(FILTERS).map(([name, filter]) => ({ name, peer: 'plain', filter })),
      { name: 'headers only', peer: 'socket', filter: mode('NONE', 'NONE') },
      {
        name: 'observability',
        peer: 'plain',
        filter: { ...mode('STREAMED', 'STREAMED'), observabilityMode: true, deferredCloseTimeout: '0.2s' },
      },
      ...['tls', 'mutual', 'anonymous', 'socket'].map(peer => ({ name: peer, peer, filter: duplex })),
      subset('one', [addresses[1]!]),
      subset('text', `${addresses[2]}`),
      subset('foreign', ['10.9.8.7:1234']),
      subset('empty', []),
    ]
    envoy = await startEnvoy({
      binary: envoyBinary.path,
      bootstrap: gatewayBootstrap({
        peers: {
          plain: { address: plain.extProcAddress },
          tls: { address: tls.extProcAddress, tls: {} },
          mutual: { address: mutual.extProcAddress, tls: client },
          anonymous: { address: mutual.extProcAddress, tls: {} },
          socket: { address: socket },
        },
        listeners,
        pool: addresses,
        special: special.address,
        accessLog: join(folder.path, 'access.log'),
      }),
      concurrency: 1,
      extraArgs: ['--file-flush-interval-msec', '50'],
    })
    await envoy.ready()
    for (const { name } of listeners) ports.set(name, await envoy.admin.listenerPort(name))
  })
  beforeEach(() => {
    for (const backend of [...backends, special]) backend.forget()
  })
  afterAll(async () => {
    await envoy?.stop()
    await Promise.all(servers.map(server => server.stop()))
    await Promise.all([...backends, special].map(backend => backend.close()))
    await folder.remove()
  })

  describe.each([...BODY_MODES, 'tls', 'mutual', 'socket'])('%s', listener => {
    it('names the endpoint in header and metadata alike, and that one serves', async () => {
      const path = `/v1/chat/completions?${encodeURIComponent(listener)}`
      // What a client says of it counts for nothing.
      const forged = { [DESTINATION]: backends[0]!.address, 'x-gateway-model-name': 'forged' }
      for (let i = 0; i < 6; i++)
        expect((await post(listener, chat(200, 'm'), { path, headers: forged })).status).toBe(200)
      const seen = requests()
      expect(seen).toHaveLength(6)
      const { metadata, upstream } = await logged(path)
      expect(metadata!.split(',')[0]).toBe(upstream)
      for (const backend of backends) {
        for (const request of backend.requests.filter(({ method }) => method === 'POST')) {
          expect(request.headers[DESTINATION]!.split(',')[0]).toBe(backend.address)
          expect(request.headers['x-gateway-model-name']).toBe('m')
        }
      }
      expect(seen.map(request => request.headers[DESTINATION])).toContain(metadata)
      expect((await sendHttp1({ port: port(listener), path: '/v1/models' })).status).toBe(200)
    })

    it('routes again by the model in the body', async () => {
      expect((await post(listener, chat(30_000, 'special'))).status).toBe(200)
      expect(requests()).toHaveLength(1)
      expect(special.requests).toHaveLength(1)
    })

    it('bodies arrive byte for byte, both ways', async () => {
      for (const send of [sendHttp1, sendHttp2]) {
        for (const framing of ['content-length', 'chunked'] as const) {
          for (const size of [100, 60_000, 400_000]) {
            for (const model of ['m', 'alias']) {
              const body = chat(size, model)
              const path = framing === 'chunked' ? '/chunked' : '/sized'
              const answer = await send({ port: port(listener), path, body, framing })
              expect([size, model, answer.status]).toEqual([size, model, 200])
              expect(bodyRecord(answer.body).sha256).toBe(bodyRecord(response).sha256)
              const wanted = bodyRecord(body.replace('"alias"', '"the-real-model"'))
              expect(requests()[0]!.body).toMatchObject({ length: wanted.length, sha256: wanted.sha256 })
              for (const backend of backends) backend.forget()
            }
          }
        }
      }
    })

    it.each([
      ['/v1/chat/completions', '"messages":[{"role":123,"content":"x"}]', 'messages[0].role'],
      ['/v1/chat/completions', '"messages":[{"role":"user","content":123}]', 'messages[0].content'],
      ['/v1/chat/completions', '"messages":[{"role":"user","content":"x"}],"tools":"str"', 'tools'],
      ['/v1/chat/completions/render/', '"messages":[{}],"chat_template":123', 'chat_template'],
      ['/v1/completions', '"prompt":[""]', 'prompt'],
      ['/some/where/v1/images/generations', '"prompt":123', 'prompt'],
    ])('%s {%s} is refused for %s', async (path, fields, param) => {
      const body = `{"model":"m",${fields}}`
      for (const more of [{}, { framing: 'chunked', writeBytes: 7 }] as const) {
        const answer = await post(listener, body, { path, ...more })
        expect(answer.status).toBe(400)
        expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { code: 'invalid_field', param } })
      }
      expect(requests()).toEqual([])
      await nothingIsLeft()
    })

    it('streams, empty answers and trailers come back as they were sent', async () => {
      const times: number[] = []
      const sse = await post(listener, chat(100, 'm'), { path: '/sse', onData: () => times.push(performance.now()) })
      expect(sse.body.toString().match(/data: event \d+\n\n/g)).toHaveLength(20)
      // Unless the gateway holds the response back itself.
      if (listener !== 'buffered') expect(times.length).toBeGreaterThan(10)
      const empty = await post(listener, chat(100, 'm'), { path: '/empty' })
      expect([empty.status, empty.body.length]).toEqual([204, 0])
      for (const backend of backends) backend.forget()
      const trailers = await post(listener, chat(100, 'm'), { path: '/trailers', trailers: { 'x-checksum': 'abc' } })
      expect([trailers.body.toString(), trailers.trailers['x-usage']]).toEqual(['some text', '17'])
      expect(requests()[0]!.trailers).toMatchObject({ 'x-checksum': 'abc' })
      const get = await sendHttp1({ port: port(listener), path: '/any' })
      expect(bodyRecord(get.body).sha256).toBe(bodyRecord(response).sha256)
      const head = await sendHttp1({ port: port(listener), path: '/any', method: 'HEAD' })
      expect([head.status, head.body.length]).toEqual([200, 0])
    })
  })

  describe.each(BODY_MODES)('in flight: %s', listener => {
    it('counts until the response has ended', async () => {
      let events = 0
      const stream = post(listener, chat(100, 'm'), { path: '/sse', onData: () => events++ })
      // Envoy 1.37 and 1.38 close our stream behind the response's headers where no body follows them to us.
      const closesEarly = isAtLeast(envoyBinary.version, '1.37.0') && !isAtLeast(envoyBinary.version, '1.39.0')
      if (listener !== 'override' || !closesEarly)
        await waitFor('a request in flight', async () => (await inFlight()) === 1)
      await stream
      expect(events).toBeGreaterThan(0)
      await nothingIsLeft()
    })

    it('a client that goes away leaves nothing behind', async () => {
      const upload = { framing: 'chunked', writeBytes: 4000, gapMs: 5, abortAfterBytes: 20_000 } as const
      await expect(post(listener, chat(90_000, 'm'), upload)).rejects.toThrow(AbortedByTest)
      await nothingIsLeft()
      expect(requests().filter(request => request.complete)).toEqual([])
    })
  })

  it('without bodies it picks by what headers say', async () => {
    for (let i = 0; i < 5; i++) expect((await post('headers only', chat(2000, 'special'))).status).toBe(200)
    expect(special.requests).toHaveLength(0)
    for (const backend of backends) {
      for (const { method, headers } of backend.requests) {
        if (method === 'POST') expect(headers[DESTINATION]!.split(',')[0]).toBe(backend.address)
      }
    }
  })

  it('only watches where answers are not wanted', async () => {
    const before = await metric('signalbox_ext_proc_streams_total')
    const body = chat(60_000, 'special')
    const answer = await post('observability', body)
    expect(answer.status).toBe(200)
    expect(bodyRecord(answer.body).sha256).toBe(bodyRecord(response).sha256)
    expect(requests()).toHaveLength(1)
    expect(requests()[0]!.headers[DESTINATION]).toBeUndefined()
    expect(requests()[0]!.body.sha256).toBe(bodyRecord(body).sha256)
    await waitFor('the stream', async () => (await metric('signalbox_ext_proc_streams_total')) === before + 1)
    await nothingIsLeft()
  })

  it('a gateway without the certificate that is asked for gets nothing through', async () => {
    expect((await post('anonymous', chat(100, 'm'))).status).toBe(500)
    expect(requests()).toEqual([])
  })

  it('keeps to the subset that the gateway names', async () => {
    for (let i = 0; i < 6; i++) {
      expect((await post('subset: one', chat(100, 'm'))).status).toBe(200)
      expect((await post('subset: text', chat(100, 'm'))).status).toBe(200)
      expect((await sendHttp1({ port: port('subset: one'), path: '/get' })).status).toBe(200)
    }
    const counts = backends.map(
      backend => backend.requests.filter(({ path }) => path !== '/metrics' && path !== '/v1/models').length,
    )
    expect(counts).toEqual([0, 12, 6])
  })

  it.each(['subset: foreign', 'subset: empty'])('%s: 503', async listener => {
    for (const answer of [
      await post(listener, chat(100, 'm')),
      await sendHttp1({ port: port(listener), path: '/get' }),
    ]) {
      expect(answer.status).toBe(503)
      expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { code: 'no_endpoints' } })
    }
    expect(requests()).toEqual([])
  })

  it.each(['', 'liveness', 'readiness', 'envoy.service.ext_proc.v3.ExternalProcessor', 'inference-extension'])(
    'gRPC health of "%s" on the same port',
    async service => {
      const client = new Client(servers[0]!.extProcAddress, credentials.createInsecure())
      const reply = await new Promise<Serving>((resolve, reject) =>
        client.makeUnaryRequest(
          '/grpc.health.v1.Health/Check',
          (request: { service: string }) =>
            Buffer.from(toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, request))),
          bytes => fromBinary(HealthCheckResponseSchema, bytes).status,
          { service },
          (error: ServiceError | null, status?: Serving) => (error === null ? resolve(status!) : reject(error)),
        ),
      )
      client.close()
      expect(reply).toBe(Serving.SERVING)
    },
  )
})
