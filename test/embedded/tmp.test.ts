import { describe, it } from '@jest/globals'
import { sendHttp1 } from '../support/http-client.ts'
import { startEmbeddedPlane, type PlaneStarter } from './planes.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { startEnvoyPlane } from './tmp-envoy.ts'
import { useProxy, world, afterBody, answers, HEADERS, LOOK, NOWAIT, DUPLEX, BUFFERED, emptyBody, continueHeaders, chunk, bodyAnswer, responseHeaders, soon } from './world.ts'
import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
function cases(name: string, start: PlaneStarter) {
  useProxy(start)
  const all: [string, any, any, any?][] = [
    ['body before headers look', { processingMode: LOOK, ...NOWAIT }, afterBody(emptyBody)],
    ['body before headers fds', { processingMode: DUPLEX }, afterBody(chunk('x', true))],
    ['2nd headers', { processingMode: LOOK, ...NOWAIT }, afterBody(continueHeaders(), continueHeaders())],
    ['resp headers', { processingMode: LOOK, ...NOWAIT }, afterBody(responseHeaders)],
    ['streamed in STREAMED', { processingMode: LOOK, ...NOWAIT }, afterBody(continueHeaders(), chunk('x', true))],
    ['plain in fds', { processingMode: DUPLEX }, afterBody(continueHeaders(), bodyAnswer('x'))],
    ['empty', { processingMode: HEADERS }, answers({})],
    ['disabled imm', { processingMode: HEADERS, disableImmediateResponse: true }, answers({ response: { case: 'immediateResponse', value: { status: { code: 403 } } } })],
    ['imm', { processingMode: HEADERS }, answers({ response: { case: 'immediateResponse', value: { status: { code: 403 }, details: 'a b' } } })],
    ['unavailable', { processingMode: HEADERS }, async (c: any) => { await c.next(); c.end(14, 'going down') }],
    ['unavailable after answer', { processingMode: LOOK }, async (c: any) => { await c.next(); c.send(continueHeaders()); await c.next(); c.end(13, 'oops x') }],
    ['refused', { processingMode: HEADERS }, async () => {}, 'refused'],
    ['none', { processingMode: HEADERS }, async () => {}, { noProcessor: true }],
    ['timeout', { processingMode: HEADERS, messageTimeout: '0.1s' }, async (c: any) => c.over],
    ['ok', { processingMode: HEADERS }, async (c: any) => { await c.next(); c.end() }],
    ['badchar', { processingMode: HEADERS }, answers(continueHeaders({ 'x': 'a\nb' }))],
    ['mismatch', { processingMode: BUFFERED }, async (c: any) => { await c.next(); c.send(continueHeaders()); await c.next(); c.send(bodyAnswer('longer')); await c.over }],
  ]
  for (const [title, extProc, script, o] of all) it(title, async () => {
    const w = await world(script, extProc, { accessLog: true, ...(typeof o === 'object' ? o : {}) })
    if (o === 'refused') w.processor.close()
    const r = await sendHttp1({ port: w.port, body: 'abc' })
    await soon(async () => (await w.lines()).length > 0)
    appendFileSync('/tmp/details.txt', `${title} | ${name} | ${r.status} ${JSON.stringify(r.headers)} ${r.body} | ${JSON.parse((await w.lines())[0]!).details}\n`)
  })
  it('no route', async () => {
    const w = await world(async () => {}, { processingMode: { requestHeaderMode: 'SKIP', responseHeaderMode: 'SKIP' } }, { accessLog: true, routes: [{ match: { path: '/d' }, directResponse: { status: 404, body: { inlineString: 'x' } } }, { match: { path: '/dead' }, route: { cluster: 'u1' } }, { match: { path: '/r' }, redirect: { hostRedirect: 'x' } }, { match: { path: '/e' }, directResponse: { status: 204 } }], backends: { u1: [1], u2: [] } })
    for (const path of ['/', '/d', '/dead', '/r', '/e']) { const r = await sendHttp1({ port: w.port, path }); appendFileSync('/tmp/details.txt', `${path} | ${name} | ${r.status} ${JSON.stringify(r.headers)} ${r.body}\n`) }
    await soon(async () => (await w.lines()).length > 4)
    for (const l of await w.lines()) appendFileSync('/tmp/details.txt', `${JSON.parse(l).path} details | ${name} | ${l}\n`)
  })
}
describe('e', () => cases('emb', startEmbeddedPlane))
describeOnEnvoy('x', ({ path }) => cases('env', startEnvoyPlane(path)))
