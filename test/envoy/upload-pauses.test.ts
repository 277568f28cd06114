import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals'
import { openAiErrorBody, uploadTimeout } from '../../src/llm/openai-error.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { sendHttp1, sendHttp2, sendRaw } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'

const BODY = `{"messages":[{"role":"user","content":"${'words and '.repeat(300)}"}],"model":"m"}`

describeOnPlanes('uploads that pause', plane => {
  let backend: RecordingBackend
  let rig: Rig

  beforeAll(async () => {
    backend = await startRecordingBackend({
      script: ({ path }) => (path === '/metrics' ? { status: 404 } : jsonReply({ ok: true })),
    })
    const annotated = (name: string, annotation: string, value: string) =>
      routeYaml({ name, prefix: `/${name}`, models: { m: 'pool' }, annotations: { [annotation]: value } })
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml({ addresses: [backend.address], annotations: { 'signalbox.dev/unknown-models': 'Forward' } }),
        routeYaml({ name: 'look', prefix: '/look', models: { m: 'pool' } }),
        annotated('whole', 'signalbox.dev/model-fact', 'whole'),
        annotated('duplex', 'signalbox.dev/body', 'full-duplex'),
        // The time for a decision is shorter than the pause, the time for an upload far longer.
        parametersYaml('{ timeouts: { message: 1500ms, upload: 60s, uploadIdle: 3s } }'),
      ),
    })
    await rig.decides('/look')
  })
  afterAll(async () => {
    await rig?.stop()
    await backend?.close()
  })
  beforeEach(() => backend.forget())

  const reached = () => backend.requests.filter(({ method }) => method === 'POST')

  it.each(['/look', '/whole', '/duplex'])('end with 408 once the pause is too long: %s', async path => {
    const head = `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n`
    const answer = await sendRaw(rig.port, [head, BODY.slice(0, 1000)], {
      gapMs: 300,
      until: received => received.includes('}}'),
    })
    const [start, body] = answer.toString().split('\r\n\r\n')
    expect(start).toMatch(/^HTTP\/1\.1 408 /)
    expect(body).toBe(openAiErrorBody(uploadTimeout()).toString())
    expect(reached()).toEqual([])
  })

  it.each(['/look', '/whole', '/duplex'])(
    'arrive when each pause is shorter, however long all of it takes: %s',
    async path => {
      for (const send of [sendHttp1, sendHttp2]) {
        const response = await send({
          port: rig.port,
          path,
          headers: { 'content-type': 'application/json' },
          body: BODY,
          framing: 'chunked',
          writeBytes: 350,
          gapMs: 250,
        })
        expect(response.status).toBe(200)
        expect(reached().at(-1)!.body.sha256).toBe(bodyRecord(BODY).sha256)
      }
    },
  )
})
