/** What a look costs on the wire: how much of a large body reaches us, and what a small exchange asks of the kernel. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { type Decider, Verdict } from '../../src/extproc/decider.ts'
import type { Exchange } from '../../src/extproc/exchange.ts'
import { EXT_PROC_SERVICE, ExtProcService } from '../../src/extproc/service.ts'
import { listenH2 } from '../../src/grpc/h2/h2-transport.ts'
import { listenHttp2 } from '../../src/grpc/http2-transport.ts'
import {
  END_STREAM,
  FrameType,
  frame,
  grpcRequest,
  headersFrame,
  RawHttp2Client,
  resetFrame,
} from '../../src/grpc/suite/raw-http2-client.ts'
import type { TransportServer } from '../../src/grpc/transport.ts'
import { firstLine, start, type Started } from '../bench/child-programs.ts'
import { buildExchanges } from '../bench/ext-proc-messages.ts'
import { metricsPage } from '../bench/metrics-page.ts'
import { CountingProxy } from '../support/counting-proxy.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'

const KIB = 1024
const FILLER = 'The quick brown fox jumps over the lazy dog. '
const BODY = `{"model":"m","messages":[{"role":"user","content":"${FILLER.repeat(10_000_000 / FILLER.length)}"}]}`
const SENT = bodyRecord(BODY)
/** HEADERS, frame heads, the header message: what comes besides the body. */
const FRAMING = 2 * KIB
const CLIENTS = [
  ['HTTP/1.1', sendHttp1, 450 * KIB],
  ['HTTP/2', sendHttp2, 64 * KIB],
] as const

/** What of a body in flight reached us once everything has settled. */
async function settled(proxy: CountingProxy): Promise<number> {
  let seen = -1
  while (seen !== proxy.toServer) {
    seen = proxy.toServer
    await delay(50)
  }
  return seen
}

const startBackend = () =>
  startRecordingBackend({ script: ({ path }) => (path === '/metrics' ? { status: 404 } : jsonReply({ ok: true })) })

describeOnEnvoy('10 MB with the model in front, our own fleet', plane => {
  let backend: RecordingBackend
  let rig: Rig
  let proxy: CountingProxy

  beforeAll(async () => {
    backend = await startBackend()
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml({ addresses: [backend.address] }),
        routeYaml({ models: { m: 'pool' } }),
        parametersYaml(),
      ),
      // Envoy finds the proxy where it believes us to be; the access log service would be there too.
      args: ['--advertise=127.0.0.2', '--access-log-service=off', '--threads=1'],
    })
    const port = Number(rig.signalbox!.extProcAddress.split(':')[1])
    proxy = await CountingProxy.start(port, '127.0.0.2', port)
    await rig.decides('/v1/chat/completions')
  })
  afterAll(async () => {
    await rig.stop()
    await proxy.close()
    await backend.close()
  })

  it.each(CLIENTS)('%s', async (_, send, most) => {
    for (let i = 0; i < 5; i++) {
      backend.forget()
      proxy.reset()
      const request = { port: rig.port, path: '/v1/chat/completions', headers: { 'content-type': 'application/json' } }
      const { status } = await send({ ...request, method: 'POST', body: BODY })
      expect(status).toBe(200)
      const [arrived] = backend.requests.filter(({ path }) => path.startsWith('/v1/chat'))
      expect(arrived?.body).toMatchObject({ length: SENT.length, sha256: SENT.sha256 })
      const seen = await settled(proxy)
      expect(seen).toBeGreaterThan(32 * KIB)
      expect(seen).toBeLessThanOrEqual(most + FRAMING)
    }
  })
})

/** Decides after 32 KiB of the body, as where the prefix counts: at once or in the next turn of the event loop. */
class Looker implements Decider {
  readonly maxBodyBytes = 32 * KIB * KIB
  readonly messageTimeoutMs = 0
  readonly uploadTimeoutMs = 60_000
  readonly uploadIdleMs = 30_000
  readonly followsResponse = false
  readonly retryBufferBytes = 0
  readonly mayRewrite = false
  readonly #late: boolean
  #seen = 0

  constructor(late: boolean) {
    this.#late = late
  }

  requestHeaders(): Verdict {
    this.#seen = 0
    return Verdict.MORE
  }

  requestBody(exchange: Exchange, _: Buffer, start: number, end: number): Verdict {
    this.#seen += end - start
    return this.#seen < 32 * KIB ? Verdict.MORE : this.requestEnd(exchange)
  }

  requestEnd(exchange: Exchange): Verdict {
    exchange.decision.set('x-looked', 'yes')
    if (!this.#late) return Verdict.DECIDED
    const { serial } = exchange
    setImmediate(() => exchange.resume(serial))
    return Verdict.DEFERRED
  }

  requestMetadata(): void {}
  refuse(exchange: Exchange): void {
    exchange.decision.immediateStatus = 500
  }
  responseHeaders(): void {}
  responseEnd(): void {}
  closed(): void {}
}

/** `node:http2` lets a peer overrun what it was granted by a window. */
const TRANSPORTS = {
  own: { listen: listenH2, retainsParts: false, overrun: 0 },
  node: { listen: listenHttp2, retainsParts: true, overrun: 64 * KIB },
} as const

describeOnEnvoy('10 MB, when the decision', envoyBinary => {
  // Names of clusters too, and so authorities.
  const cases = Object.entries(TRANSPORTS).flatMap(([name, transport]) =>
    [false, true].map(late => ({
      ...transport,
      late,
      name: `${late ? 'comes-a-turn-late' : 'comes-at-once'}.${name}`,
    })),
  )
  const services: ExtProcService[] = []
  const servers: TransportServer[] = []
  const proxies = new Map<string, CountingProxy>()
  let backend: RecordingBackend
  let folder: TempFolder
  let envoy: EnvoyProcess

  beforeAll(async () => {
    backend = await startBackend()
    folder = await makeTempFolder()
    for (const { name, late, listen, retainsParts } of cases) {
      const decider = new Looker(late)
      const service = new ExtProcService({ decider: () => decider, retainsParts })
      const server = await listen({ services: [service], listen: { host: '127.0.0.1', port: 0 } })
      services.push(service)
      servers.push(server)
      proxies.set(name, await CountingProxy.start(server.port))
    }
    const filter = {
      processingMode: { requestHeaderMode: 'SEND', responseHeaderMode: 'SKIP', requestBodyMode: 'STREAMED' },
      sendBodyWithoutWaitingForHeaderResponse: true,
      mutationRules: { allowAllRouting: true },
    }
    envoy = await startEnvoy({
      binary: envoyBinary.path,
      bootstrap: gatewayBootstrap({
        peers: Object.fromEntries(Array.from(proxies, ([name, { address }]) => [name, { address }])),
        listeners: cases.map(({ name }) => ({ name, peer: name, filter })),
        pool: [backend.address],
        special: backend.address,
        accessLog: join(folder.path, 'access.log'),
      }),
      concurrency: 1,
    })
    await envoy.ready()
  })
  afterAll(async () => {
    await envoy?.stop()
    for (const proxy of proxies.values()) await proxy.close()
    for (const server of servers) await server.close()
    for (const service of services) service.close()
    await backend.close()
    await folder.remove()
  })

  describe.each(cases)('$name', ({ name, overrun }) => {
    it.each(CLIENTS)('%s', async (_, send, most) => {
      const proxy = proxies.get(name)!
      const port = await envoy.admin.listenerPort(name)
      for (let i = 0; i < 5; i++) {
        backend.forget()
        proxy.reset()
        const { status } = await send({ port, method: 'POST', body: BODY })
        if (status !== 200) throw new Error(await readFile(join(folder.path, 'access.log'), 'utf8'))
        expect(backend.requests[0]!.headers).toMatchObject({ 'x-looked': 'yes' })
        expect(backend.requests[0]!.body).toMatchObject({ length: SENT.length, sha256: SENT.sha256 })
        const seen = await settled(proxy)
        expect(seen).toBeGreaterThan(32 * KIB)
        expect(seen).toBeLessThanOrEqual(most + FRAMING + overrun)
      }
    })
  })
})

/** System calls that read and write, of all threads of a process so far. */
async function systemCalls(pid: number): Promise<{ readonly reads: number; readonly writes: number }> {
  const io = await readFile(`/proc/${pid}/io`, 'utf8')
  return { reads: Number(/^syscr: (\d+)$/m.exec(io)![1]), writes: Number(/^syscw: (\d+)$/m.exec(io)![1]) }
}

describe('a small exchange that looks and closes', () => {
  const EXCHANGES = 400
  let metrics: RecordingBackend
  let server: Started
  let port: number

  beforeAll(async () => {
    metrics = await startRecordingBackend({ script: () => ({ status: 200, chunks: [metricsPage()] }) })
    const program = join(import.meta.dirname, '..', 'bench', 'ext-proc-server.ts')
    // It scrapes, and so reads and writes, once in a test.
    const args = ['--transport', 'own', '--endpoints', metrics.address, '--scrape-ms', '600000']
    server = start(process.execPath, [program, ...args])
    port = (JSON.parse(await firstLine(server)) as { ports: Record<string, number> }).ports['look']!
  })
  afterAll(async () => {
    await server.stop()
    await metrics.close()
  })

  it('costs one read and one write', async () => {
    const [exchange] = buildExchanges({
      bodyBytes: 300,
      chunkBytes: 16 * KIB,
      distinct: 1,
      modelLast: false,
      request: 'look',
      response: 'none',
      stream: false,
      responseChunks: 0,
    })
    const client = await RawHttp2Client.connect(port)
    // Room for all answers: the client gives nothing back.
    client.write(frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.from([0, 0x10, 0, 0])))
    const headers = grpcRequest(`/${EXT_PROC_SERVICE}/Process`)
    let stream = 1
    // As Envoy does it: the whole request in one write; the stream before is reset in it.
    const play = async (): Promise<void> => {
      const frames = [
        headersFrame(stream, headers),
        ...exchange!.request.map(message => frame(FrameType.DATA, 0, stream, message)),
      ]
      if (stream > 1) frames.unshift(resetFrame(stream - 2, 2))
      client.write(...frames)
      const ended = () => client.frames.some(({ stream: id, flags }) => id === stream && (flags & END_STREAM) !== 0)
      await client.until(ended)
      const trailers = client.of(FrameType.HEADERS, stream).at(-1)!
      expect(trailers.flags & END_STREAM).toBe(END_STREAM)
      expect(client.of(FrameType.DATA, stream)).not.toHaveLength(0)
      client.frames.length = 0
      stream += 2
    }
    try {
      for (let i = 0; i < EXCHANGES; i++) await play()
      const before = await systemCalls(server.pid)
      for (let i = 0; i < EXCHANGES; i++) await play()
      const after = await systemCalls(server.pid)
      // Other threads of Node wake the first one now and then, which is a write and a read too.
      const most = EXCHANGES * 1.2
      expect(after.writes - before.writes).toBeGreaterThanOrEqual(EXCHANGES)
      expect(after.writes - before.writes).toBeLessThan(most)
      expect(after.reads - before.reads).toBeLessThan(most)
    } finally {
      client.destroy()
    }
  })
})
