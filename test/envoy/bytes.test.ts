import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'

const MIB = 1024 * 1024

/** A chat body of exactly `size` bytes with `model` first or last. */
function chat(size: number, model: string, last: boolean): string {
  const shell = (content: string) =>
    last
      ? `{"messages":[{"role":"user","content":"${content}"}],"model":"${model}"}`
      : `{"model":"${model}","messages":[{"role":"user","content":"${content}"}]}`
  const filler = 'The quick brown fox jumps over the lazy dog. '
  return shell(filler.repeat(Math.ceil(size / filler.length)).slice(0, size - shell('').length))
}

/** What a reader of whole bodies would do to it; the peers' bugs 1, 4 and 5 (peers-measured.md) were found by these. */
const SIZES = [
  ['1 KB', 1024],
  ['100 KB', 100 * 1024],
  ['1 MB', MIB],
  ['20 MB', 20 * MIB],
] as const

describeOnPlanes('a request reaches the backend byte for byte', plane => {
  let backend: RecordingBackend
  let rig: Rig

  beforeAll(async () => {
    backend = await startRecordingBackend({
      script: request => (request.path === '/metrics' ? { status: 404 } : jsonReply({ ok: true })),
    })
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml({ addresses: [backend.address] }),
        `apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: rewrite }
spec:
  poolRef: { name: pool }
  rules:
    - matches: [{ model: { value: alias } }]
      targets: [{ modelRewrite: the-real-model }]`,
        routeYaml({ name: 'look', prefix: '/look', models: { '': 'pool' } }),
        routeYaml({
          name: 'whole',
          prefix: '/whole',
          models: { '': 'pool' },
          annotations: { 'signalbox.dev/model-fact': 'whole' },
        }),
        routeYaml({
          name: 'duplex',
          prefix: '/duplex',
          models: { '': 'pool' },
          annotations: { 'signalbox.dev/body': 'full-duplex' },
        }),
        parametersYaml(),
      ),
    })
  })
  afterAll(async () => {
    await rig.stop()
    await backend.close()
  })

  const sent = async (
    body: string,
    options: {
      path: string
      http: 1 | 2
      framing: 'content-length' | 'chunked'
      trailers: boolean
      writeBytes?: number
    },
  ) => {
    const before = backend.requests.length
    const send = options.http === 1 ? sendHttp1 : sendHttp2
    const response = await send({
      port: rig.port,
      method: 'POST',
      path: options.path,
      headers: { 'content-type': 'application/json' },
      body,
      framing: options.framing,
      ...(options.trailers ? { trailers: { 'x-checksum': 'abc123' } } : {}),
      ...(options.writeBytes === undefined ? {} : { writeBytes: options.writeBytes }),
      timeoutMs: 30_000,
    })
    // What went wrong stands in the body and in the access log.
    if (response.status !== 200)
      throw new Error(
        `${response.status} ${response.body.toString()} ${JSON.stringify((await rig.accessLog()).at(-1))}`,
      )
    const requests = backend.requests.slice(before).filter(request => request.method === 'POST')
    expect(requests).toHaveLength(1)
    return requests[0]!
  }

  describe.each(['/look', '/whole', '/duplex'])('%s', path => {
    for (const [label, size] of SIZES) {
      for (const http of [1, 2] as const) {
        for (const framing of ['content-length', 'chunked'] as const) {
          for (const trailers of framing === 'content-length' && http === 1 ? [false] : [false, true]) {
            it(`${label}, HTTP/${http}, ${framing}${trailers ? ', trailers' : ''}`, async () => {
              for (const last of [false, true]) {
                const body = chat(size, 'm', last)
                const seen = await sent(body, { path, http, framing, trailers })
                expect(seen.body).toMatchObject({ length: body.length, sha256: bodyRecord(body).sha256 })
                if (trailers) expect(seen.trailers).toMatchObject({ 'x-checksum': 'abc123' })
              }
            })
          }
        }
      }
    }

    describe.each([
      ['alias first, 1 KB', 1024, false],
      ['alias last, 100 KB', 100 * 1024, true],
      ['alias first, 1 MB', MIB, false],
      ['alias last, 3 MB', 3 * MIB, true],
      ['alias first, 20 MB', 20 * MIB, false],
      ['alias last, 20 MB', 20 * MIB, true],
    ])('a rewritten model differs only in its value: %s', (_label, size, last) => {
      it.each([
        [1, 'content-length', false],
        [1, 'chunked', false],
        [1, 'chunked', true],
        [2, 'content-length', false],
        [2, 'content-length', true],
        [2, 'chunked', true],
      ] as const)('HTTP/%i, %s, trailers: %s', async (http, framing, trailers) => {
        const body = chat(size, 'alias', last)
        const seen = await sent(body, { path, http, framing, trailers })
        const wanted = body.replace('"alias"', '"the-real-model"')
        expect(seen.body).toMatchObject({ length: wanted.length, sha256: bodyRecord(wanted).sha256 })
        if (trailers) expect(seen.trailers).toMatchObject({ 'x-checksum': 'abc123' })
        const length = seen.headers['content-length']
        if (length !== undefined) expect(length).toBe(String(wanted.length))
      })
    })

    it('a body that comes byte by byte', async () => {
      const body = chat(400, 'm', true)
      const seen = await sent(body, { path, http: 1, framing: 'chunked', trailers: false, writeBytes: 1 })
      expect(seen.body.sha256).toBe(bodyRecord(body).sha256)
    })
  })

  it('bodies of many sizes, cut anywhere, on one connection: nothing is sent twice (retries keep small bodies)', async () => {
    for (let i = 0; i < 40; i++) {
      const size = 200 + ((i * 7919) % (i % 4 === 0 ? 400_000 : 90_000))
      const body = chat(size, 'm', i % 3 === 0)
      const seen = await sent(body, {
        path: '/look',
        http: 1,
        framing: i % 2 === 0 ? 'content-length' : 'chunked',
        trailers: false,
        writeBytes: 1 + ((i * 104_729) % 70_000),
      })
      expect(seen.body).toMatchObject({ length: body.length, sha256: bodyRecord(body).sha256 })
    }
  })
})
