import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals'
import { ENVOY_VERSIONS } from '../../src/cli/envoy/envoy-wheel.ts'
import { resolveEnvoy } from '../../src/cli/envoy/resolve-envoy.ts'
import { routeNotFound, openAiErrorBody } from '../../src/llm/openai-error.ts'
import { describeWith } from '../support/envoy-suite.ts'
import { sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { type ModelServer, modelsAreListed, startModelServer } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

/**
 * The share of every test run on the oldest Envoy that is served: what is made differently for it (docs/envoy-versions.md).
 * All suites on one version: `npm run test:envoy -- 1.36.4`.
 */
const oldest = await resolveEnvoy({ version: ENVOY_VERSIONS[0]! }).catch((error: unknown) => error as Error)

const CLIENTS = [
  ['HTTP/1.1', sendHttp1],
  ['HTTP/2', sendHttp2],
] as const
const JSON_TYPE = { 'content-type': 'application/json' }
const chat = (size: number) => `{"messages":[{"role":"user","content":"${'word '.repeat(size / 5)}"}],"model":"m"}`

interface Client {
  readonly userAgent: string
  readonly types: readonly { readonly synced: boolean; readonly refusal?: unknown }[]
}

describeWith(oldest, process.env['SIGNALBOX_REQUIRE_ENVOY'] === '1', 'the oldest Envoy', envoy => {
  let backend: ModelServer
  let rig: Rig

  beforeAll(async () => {
    // Their list is longer than the 64 KiB up to which any answer is small.
    const models = ['m', ...Array.from({ length: 2000 }, (_, i) => `another-model-with-the-number-${i}`)]
    backend = await startModelServer({ name: 'backend', models })
    rig = await Rig.start({
      plane: envoy,
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
        routeYaml({ name: 'first', prefix: '/first', models: { m: 'pool' } }),
        routeYaml({ name: 'all', models: { '': 'pool' } }),
        parametersYaml('{ limits: { maxRequestBodyBytes: 5000000 } }'),
      ),
    })
    await modelsAreListed(rig, [backend])
  })
  afterAll(async () => {
    await rig?.stop()
    await backend?.close()
  })
  beforeEach(() => rig.decides('/v1/chat/completions'))

  const lastPost = () => backend.served.findLast(({ method }) => method === 'POST')!

  it('takes all of its configuration, and knows every field of it', async () => {
    await waitFor('the configuration to be taken', async () => {
      const [client] = await rig.admin<Client[]>('/clients')
      return client?.userAgent === `envoy ${envoy.version}` && client.types.every(({ synced }) => synced)
    })
    const stats = await rig.envoy!.admin.stats('unknown_fields|update_rejected')
    expect(stats).toHaveProperty(['server.dynamic_unknown_fields'])
    expect(Object.entries(stats).filter(([, value]) => value !== 0)).toEqual([])
  })

  it.each(CLIENTS)('bodies beyond the default buffers arrive byte for byte: %s', async (_label, send) => {
    for (const framing of ['content-length', 'chunked'] as const) {
      for (const size of [300, 4_500_000]) {
        const body = chat(size)
        const answer = await send({ port: rig.port, path: '/first', headers: JSON_TYPE, body, framing })
        expect(answer.status).toBe(200)
        expect(lastPost().body).toMatchObject({ length: body.length, sha256: bodyRecord(body).sha256 })
      }
    }
  })

  it('a rewritten model differs only in its value, whatever content-length was', async () => {
    const body = chat(3_000_000).replace('"model":"m"', '"model":"alias"')
    await sendHttp1({ port: rig.port, path: '/v1/x', headers: JSON_TYPE, body })
    const wanted = body.replace('"alias"', '"the-real-model"')
    expect(lastPost().body).toMatchObject({ length: wanted.length, sha256: bodyRecord(wanted).sha256 })
    // ext_proc takes content-length away here.
    expect(lastPost().headers).toMatchObject({ 'transfer-encoding': 'chunked' })
  })

  it.each(CLIENTS)('answers of our own: %s', async (_label, send) => {
    const lost = await send({ port: rig.port, path: '/nowhere' })
    expect([lost.status, lost.headers['content-type']]).toEqual([404, 'application/json'])
    expect(lost.body.toString()).toBe(openAiErrorBody(routeNotFound()).toString())
    const list = await send({ port: rig.port, path: '/v1/models' })
    expect([list.status, list.body.length > 64 * 1024]).toEqual([200, true])
    expect(list.body.toString()).toContain('another-model-with-the-number-1999')
    const count = backend.served.length
    const large = await send({ port: rig.port, path: '/first', headers: JSON_TYPE, body: chat(5_100_000) })
    expect(large.status).toBe(413)
    expect(backend.served.length).toBe(count)
  })

  it('headers of clients choose nothing', async () => {
    backend.script(() => jsonReply({ ok: true }))
    const forged = { ...JSON_TYPE, 'x-signalbox-target': 'x', 'x-gateway-model-name': 'm', x_gateway_model_name: 'm' }
    const answer = await sendHttp1({ port: rig.port, path: '/first', headers: forged, body: '{"model":"other"}' })
    expect(answer.status).toBe(404)
    await sendHttp1({ port: rig.port, path: '/first', headers: forged, body: '{"model":"m"}' })
    expect(lastPost().headers).toMatchObject({ 'x-gateway-model-name': 'm' })
    expect(lastPost().headers['x_gateway_model_name']).toBeUndefined()
    expect(lastPost().headers['x-signalbox-target']).toBeUndefined()
  })

  it('without Signalbox nothing passes', async () => {
    await rig.stopSignalbox()
    const count = backend.served.length
    for (const [, send] of CLIENTS) {
      const answer = await send({ port: rig.port, path: '/first', headers: JSON_TYPE, body: chat(300) })
      expect([answer.status, answer.headers['content-type']]).toEqual([503, 'application/json'])
    }
    expect(backend.served.length).toBe(count)
  })
})
