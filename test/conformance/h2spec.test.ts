/** The real h2spec against our HTTP/2. Its cases are also a table of our own (src/grpc/suite/conformance), which needs nothing. */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from '@jest/globals'
import { listenH2 } from '../../src/grpc/h2/h2-transport.ts'
import type { TransportServer } from '../../src/grpc/transport.ts'
import { findH2spec } from './h2spec-binary.ts'
import { readReport, runH2spec } from './run-h2spec.ts'

const checkout = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const binary = await findH2spec(process.env, checkout)
const MISSING = 'SKIPPED, no h2spec'

if (binary === undefined) {
  console.warn(`h2spec (${MISSING}): \`npm run h2spec\` builds it with Go, or set H2SPEC to its path`)
  describe(`h2spec (${MISSING})`, () => it.skip('`npm run h2spec` builds it with Go', () => {}))
} else {
  describe('h2spec', () => {
    let server: TransportServer | undefined
    afterEach(() => server?.close())

    it.each([{ tls: false }, { tls: true }])('passes every case (TLS: $tls)', async ({ tls }) => {
      server = await listenH2({
        services: [],
        listen: { host: '127.0.0.1', port: 0 },
        maxConcurrentStreams: 100,
        ...(tls ? { tls: { certificate: { kind: 'self-signed' } } } : {}),
      })
      const cases = await runH2spec(binary, server.port, { patienceS: 3, tls })
      expect(cases.filter(({ verdict }) => verdict !== 'passed')).toEqual([])
      expect(cases.length).toBeGreaterThanOrEqual(146)
    })
  })
}

describe('reports of h2spec', () => {
  it('are read with their places and verdicts', () => {
    const xml =
      '<testsuites><testsuite><testcase package="http2/6.1" classname="Sends &#34;a&#34;" time="0.1"></testcase>' +
      '<testcase package="http2/6.1" classname="b" time="1"><error>GOAWAY\n\u0000&lt;x&gt;</error></testcase></testsuite>' +
      '<testsuite><testcase package="http2/7" classname="c" time="0"><skipped></skipped></testcase></testsuite></testsuites>'
    expect(readReport(xml)).toEqual([
      { id: 'http2/6.1/1', name: 'Sends "a"', verdict: 'passed', detail: '' },
      { id: 'http2/6.1/2', name: 'b', verdict: 'failed', detail: 'GOAWAY\n\u0000<x>' },
      { id: 'http2/7/1', name: 'c', verdict: 'skipped', detail: '' },
    ])
  })
})
