/** What the compiler makes, on a real Envoy: accepted as a whole, and doing by itself what the HTTPRoutes say. */
import { readdirSync, readFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { compileBootstrap } from '../../src/compile/bootstrap.ts'
import { compile } from '../../src/compile/compile.ts'
import { readTexts } from '../../src/config/object-set.ts'
import { formatProblem } from '../../src/config/problem.ts'
import { AdsServer, type NackEvent } from '../../src/xds/ads-server.ts'
import { SnapshotCache } from '../../src/xds/snapshot-cache.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { freePort } from '../support/free-ports.ts'
import { sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { waitFor } from '../support/wait-for.ts'

const testdata = fileURLToPath(new URL('../../src/compile/testdata/', import.meta.url))
const golden = readdirSync(testdata).filter(name => name.endsWith('.yaml') && !name.endsWith('.golden.yaml'))
const textOf = (name: string) => readFileSync(testdata + name, 'utf8')

/** Certificate and key of `tls.yaml`. */
const SECRET = textOf('tls.yaml')
  .split('\n---\n')
  .find(document => document.includes('kind: Secret'))!

function compileText(text: string, extProcPort: number) {
  const set = readTexts([{ file: 'test.yaml', text }])
  const result = compile(set.items, { extProc: { addresses: [`127.0.0.1:${extProcPort}`] } })
  expect([...set.errors, ...result.errors].map(formatProblem)).toEqual([])
  return result
}

describe('compiled resources', () => {
  it.each(golden)('%s can be encoded', name => {
    new SnapshotCache().set(compileText(textOf(name), 9002).envoy)
  })
})

describeOnEnvoy('compiled configuration', ({ path: binary }) => {
  const http = { plain: 0, tls: 0 }
  let backend: RecordingBackend
  let server: AdsServer
  let envoy: EnvoyProcess
  const cache = new SnapshotCache()
  const nacks: NackEvent[] = []

  const route = (path: string, backends: string, more = '') =>
    `  - {matches: [{path: {value: ${path}}}], backendRefs: [${backends}]${more}}\n`
  const PLAIN = '{group: signalbox.dev, kind: SignalboxBackend, name: plain}'
  const pool = (name: string) => `{group: inference.networking.k8s.io, kind: InferencePool, name: ${name}}`
  const filters = (...list: string[]) => `, filters: [${list.join(', ')}]`
  const replacePrefix = (text: string) =>
    filters(`{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ${text}}}}`)

  const configuration = () => `
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: gw}
spec:
  addresses: [{value: 127.0.0.1}]
  listeners:
  - {name: http, port: ${http.plain}, protocol: HTTP}
  - {name: https, port: ${http.tls}, protocol: HTTPS, hostname: www.example.com, tls: {certificateRefs: [{name: site}]}}
---
${SECRET}
---
kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
${route('/plain', PLAIN, replacePrefix('/'))}${route('/prefix', PLAIN, replacePrefix('/other/'))}${route('/same', PLAIN)}
${route('/headers', PLAIN, filters('{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: "100%"}], remove: [x-gone]}}'))}
${route('/gone', '{group: signalbox.dev, kind: SignalboxBackend, name: none}')}${route('/closed', pool('closed'))}${route('/open', pool('open'))}
  - matches: [{path: {value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, path: {type: ReplacePrefixMatch, replacePrefixMatch: /to}}}]
---
kind: SignalboxBackend
apiVersion: signalbox.dev/v1alpha1
metadata: {name: plain, labels: {app: x}}
spec: {endpoints: [{address: 127.0.0.1, port: ${backend.port}}]}
---
kind: InferencePool
apiVersion: inference.networking.k8s.io/v1
metadata: {name: closed}
spec: {selector: {matchLabels: {app: x}}, targetPorts: [{number: 1}]}
---
kind: InferencePool
apiVersion: inference.networking.k8s.io/v1
metadata: {name: open}
spec: {selector: {matchLabels: {app: x}}, targetPorts: [{number: 1}], endpointPickerRef: {name: x, failureMode: FailOpen}}
`

  beforeAll(async () => {
    backend = await startRecordingBackend()
    http.plain = await freePort()
    http.tls = await freePort()
    const xdsPort = await freePort()
    server = new AdsServer({ cache, listen: { address: `127.0.0.1:${xdsPort}` }, onNack: event => nacks.push(event) })
    await server.listen()
    // Nobody listens at the ext_proc address: Signalbox is away in this suite.
    cache.set(compileText(configuration(), await freePort()).envoy)
    const bootstrap = compileBootstrap({ nodeId: 'n', cluster: 'c', xds: { addresses: [`127.0.0.1:${xdsPort}`] } })
    envoy = await startEnvoy({ binary, bootstrap: JSON.parse(JSON.stringify(bootstrap)), concurrency: 1 })
    await envoy.ready()
  })
  afterAll(async () => {
    await envoy?.stop()
    await server?.close()
    await backend?.close()
  })

  async function forwarded(path: string, headers: Readonly<Record<string, string>> = {}) {
    backend.forget()
    const answer = await sendHttp1({ port: http.plain, path, headers })
    expect(answer.status).toBe(200)
    return backend.completed()
  }

  it('is accepted', () => {
    expect(nacks).toEqual([])
  })

  it('rewrites paths as the Gateway API says', async () => {
    const cases = {
      '/plain': '/',
      '/plain/': '/',
      '/plain/a?b=/plain': '/a?b=/plain',
      '/prefix': '/other',
      '/prefix/a': '/other/a',
    }
    for (const [path, expected] of Object.entries(cases)) expect((await forwarded(path)).path).toBe(expected)
  })

  it('sees through other spellings of a path', async () => {
    for (const path of ['/x/../same/a', '//same//a', '/x/%2e%2e/same/a', '/same%2fa', '/same/./a'])
      expect((await forwarded(path)).path).toBe('/same/a')
    expect((await sendHttp1({ port: http.plain, path: '/sameness' })).status).toBe(404)
  })

  it('drops routing headers of clients, changes headers, keeps the Host', async () => {
    const { headers } = await forwarded('/headers', {
      host: 'some.host:1234',
      'x-gone': '1',
      'x-signalbox-target': 'forged',
      'X-Signalbox-Anything': 'forged',
      'X-Gateway-Model-Name': 'forged',
      'x-gateway-base-model-name': 'forged',
      'x-gateway-destination-endpoint': '127.0.0.1:1',
      'x-gateway-destination-endpoint-subset': '127.0.0.1:1',
      'x-envoy-retry-on': '5xx',
    })
    expect(headers).toMatchObject({ host: 'some.host:1234', 'x-a': '100%' })
    expect(Object.keys(headers).filter(name => /^x-(gone|signalbox|gateway|envoy-retry)/.test(name))).toEqual([])
    expect(JSON.stringify(headers)).not.toContain('forged')
  })

  it('answers what has no route or no backend in the shape of an OpenAI error', async () => {
    for (const [path, status, code] of [
      ['/nowhere', 404, 'route_not_found'],
      ['/gone', 500, 'no_backend'],
    ] as const) {
      const answer = await sendHttp1({ port: http.plain, path })
      expect([answer.status, answer.headers['content-type']]).toEqual([status, 'application/json'])
      expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { code, param: null } })
    }
  })

  it('redirects', async () => {
    const { status, headers } = await sendHttp1({
      port: http.plain,
      path: '/moved/a?b',
      headers: { host: 'h.example:99' },
    })
    expect([status, headers['location']]).toEqual([302, 'https://h.example:443/to/a?b'])
  })

  it('fails closed and open, by entry, while Signalbox is away', async () => {
    await waitFor('the health check to notice', async () => {
      const clusters = await envoy.admin.get('/clusters')
      return /signalbox_ext_proc::.*health_flags::.*failed_active_hc/.test(clusters)
    })
    const body = JSON.stringify({ model: 'm', pad: 'x'.repeat(300_000) })
    for (const send of [sendHttp1, sendHttp2]) {
      backend.forget()
      const closed = await send({ port: http.plain, path: '/closed/v1/chat', body })
      expect(closed.status).toBe(503)
      expect(backend.requests).toHaveLength(0)
      const open = await send({ port: http.plain, path: '/open/v1/chat', body })
      expect(open.status).toBe(200)
      expect((await backend.completed()).body.length).toBe(body.length)
      backend.forget()
      // Even a forged target doesn't get past the entry.
      const headers = { 'x-signalbox-target': 'default/r/5/closed' }
      expect((await send({ port: http.plain, path: '/closed', headers, body: '{}' })).status).toBe(503)
      expect(backend.requests).toHaveLength(0)
    }
  })

  it('serves HTTPS by server name', async () => {
    const get = (servername: string) =>
      new Promise<number | string>(resolve => {
        const headers = { host: 'www.example.com' }
        const options = {
          host: '127.0.0.1',
          port: http.tls,
          servername,
          path: '/same',
          headers,
          rejectUnauthorized: false,
        }
        const outgoing = httpsRequest(options, response => {
          response.resume()
          resolve(response.statusCode!)
        })
        outgoing.on('error', error => resolve(error.message))
        outgoing.end()
      })
    expect(await get('www.example.com')).toBe(200)
    expect(await get('other.example.com')).not.toBe(200)
  })
})
