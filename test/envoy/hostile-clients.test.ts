import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { once } from 'node:events'
import * as http2 from 'node:http2'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { type ClientRequest, sendHttp1, sendHttp2, sendRaw } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml } from '../support/pool-config.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'

const CHAT = '{"messages":[{"role":"user","content":"TRACE me"}],"model":"m"}'
const JSON_TYPE = { 'content-type': 'application/json' }

function routeYaml(name: string, body: string, rules: string): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, annotations: { signalbox.dev/body: ${body} } }
spec:
  parentRefs: [{ name: gateway }]
  rules:
${rules}`
}

const toModel = (prefix: string, model: string) => `
    - matches: [{ path: { value: ${prefix} }, headers: [{ name: x-gateway-model-name, value: ${model} }] }]
      backendRefs: [{ group: signalbox.dev, kind: SignalboxBackend, name: ${model} }]`

function backendYaml(name: string, address: string): string {
  const { hostname, port } = new URL(`http://${address}`)
  return `
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: ${name} }
spec: { endpoints: [{ address: ${hostname}, port: ${port} }] }`
}

describeOnPlanes('what clients may try', plane => {
  let m: RecordingBackend
  let n: RecordingBackend
  let rig: Rig

  beforeAll(async () => {
    m = await startRecordingBackend({ script: () => jsonReply({ backend: 'm' }) })
    n = await startRecordingBackend({ script: () => jsonReply({ backend: 'n' }) })
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        backendYaml('m', m.address),
        backendYaml('n', n.address),
        routeYaml('look', 'look', toModel('/look', 'm') + toModel('/look', 'n')),
        routeYaml('duplex', 'full-duplex', toModel('/duplex', 'm') + toModel('/duplex', 'n')),
        routeYaml(
          'plain',
          'look',
          `
    - matches: [{ path: { value: /plain } }]
      backendRefs: [{ group: signalbox.dev, kind: SignalboxBackend, name: m }]`,
        ),
        parametersYaml(),
      ),
    })
    await rig.decides('/look')
  })
  afterAll(async () => {
    await rig?.stop()
    await Promise.all([m?.close(), n?.close()])
  })
  beforeEach(() => {
    m.forget()
    n.forget()
  })

  const sends: readonly (readonly [string, (request: ClientRequest) => ReturnType<typeof sendHttp1>])[] = [
    ['HTTP/1.1', sendHttp1],
    ['HTTP/2', sendHttp2],
  ]
  const forged = (): Record<string, string> => ({
    'x-gateway-model-name': 'n',
    'x-gateway-base-model-name': 'n',
    'x-gateway-destination-endpoint': n.address,
    'x-signalbox-target': 'n',
  })

  describe.each(sends)('%s', (_label, send) => {
    it.each(['/look', '/duplex'])('trailers of our names choose nothing and become no headers: %s', async path => {
      const plain = await send({ port: rig.port, path, headers: JSON_TYPE, body: CHAT, trailers: { 'x-check': '1' } })
      const response = await send({ port: rig.port, path, headers: JSON_TYPE, body: CHAT, trailers: forged() })
      expect([plain.body.toString(), response.body.toString()]).toEqual(['{"backend":"m"}', '{"backend":"m"}'])
      expect(n.requests).toHaveLength(0)
      const [honest, forger] = m.requests.map(({ headers }) => headers)
      for (const name of Object.keys(forged())) expect([name, forger![name]]).toEqual([name, honest![name]])
      expect(m.requests[1]!.body.sha256).toBe(bodyRecord(CHAT).sha256)
      // Where a trailer is, it does no harm: they arrive as what they are.
      expect(m.requests[1]!.trailers).toEqual(forged())
    })

    it('names with underscores are no way around', async () => {
      const underscored = {
        x_gateway_model_name: 'n',
        'x-gateway_model-name': 'n',
        x_gateway_base_model_name: 'n',
        x_gateway_destination_endpoint: n.address,
        'x_gateway-destination_endpoint_subset': n.address,
        x_signalbox_target: 'n',
      }
      const headers = { ...JSON_TYPE, ...underscored, session_id: 'kept', x_gateway: 'kept', x_signalbox: 'kept' }
      const response = await send({ port: rig.port, path: '/look', headers, body: CHAT })
      expect(response.body.toString()).toBe('{"backend":"m"}')
      const seen = m.requests[0]!.headers
      expect(Object.keys(seen).filter(name => name.includes('_'))).toEqual(['session_id', 'x_gateway', 'x_signalbox'])
      expect(seen['x-gateway-model-name']).toBe('m')
    })

    it.each(['/look', '/duplex', '/plain'])('OPTIONS with a body is a request like others: %s', async path => {
      const response = await send({ port: rig.port, path, method: 'OPTIONS', headers: JSON_TYPE, body: CHAT })
      expect([response.status, response.body.toString()]).toEqual([200, '{"backend":"m"}'])
      expect(m.requests[0]).toMatchObject({ method: 'OPTIONS', path })
      expect(m.requests[0]!.body.sha256).toBe(bodyRecord(CHAT).sha256)
    })

    it('OPTIONS without a body goes where no model is needed', async () => {
      expect((await send({ port: rig.port, path: '/plain', method: 'OPTIONS' })).status).toBe(200)
      expect((await send({ port: rig.port, path: '/look', method: 'OPTIONS' })).status).toBe(404)
    })
  })

  it.each(['/look', '/plain', '/nowhere'])('TRACE is refused, with a body or without: %s', async path => {
    const bodiless = await sendHttp1({ port: rig.port, path, method: 'TRACE' })
    expect([bodiless.status, bodiless.headers['allow']]).toEqual([405, expect.stringContaining('POST')])
    expect(bodiless.body.toString()).toContain('"code":"method_not_allowed"')
    const overHttp2 = await sendHttp2({ port: rig.port, path, method: 'TRACE', headers: JSON_TYPE, body: CHAT })
    expect(overHttp2.status).toBe(405)
    // Its body is no request of its own.
    const smuggled = 'POST /plain HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n'
    const answer = await sendRaw(
      rig.port,
      [`TRACE ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: ${smuggled.length}\r\n\r\n${smuggled}`],
      { until: received => received.includes('}}') },
    )
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 405 /)
    await sendHttp1({ port: rig.port, path: '/plain/last', body: CHAT })
    expect(m.requests.map(request => request.path)).toEqual(['/plain/last'])
  })

  it.each(['/look', '/plain'])('CONNECT opens no tunnel: %s', async path => {
    const raw = await sendRaw(rig.port, [`CONNECT a.test:80 HTTP/1.1\r\nhost: a.test:80\r\nx-path: ${path}\r\n\r\n`], {
      until: received => received.includes('\r\n\r\n'),
    })
    expect(raw.toString()).toMatch(/^HTTP\/1\.1 (?:404|405) |^$/)
    const session = http2.connect(rig.url)
    session.on('error', () => undefined)
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'a.test:80' })
    const outcome = await Promise.race([
      once(stream, 'response').then(([headers]) => (headers as http2.IncomingHttpHeaders)[':status']),
      once(stream, 'error').then(() => 'reset'),
      once(stream, 'close').then(() => 'reset'),
    ])
    session.destroy()
    expect([404, 405, 'reset']).toContain(outcome)
    expect([...m.requests, ...n.requests]).toEqual([])
  })
})
