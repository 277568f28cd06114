import { Buffer } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import { parse } from 'yaml'
import type { EnvoyResources } from '../config/envoy-resources.ts'
import type { LogRecord } from './access-log.ts'
import { readConfiguration } from './configuration.ts'
import { HeaderList } from './header-list.ts'
import { mapReply } from './local-reply.ts'

const golden = parse(readFileSync(new URL('../compile/testdata/minimal.golden.yaml', import.meta.url), 'utf8')) as {
  envoy: EnvoyResources
}
const mappers = readConfiguration(golden.envoy).listeners[0]!.chains[0]!.localReplies

const RECORD: LogRecord = {
  startedAt: new Date(0),
  durationMs: 0,
  responseMs: undefined,
  originalPath: '/',
  protocol: 'HTTP/1.1',
  requestHeaders: new HeaderList([]),
  responseHeaders: undefined,
  responseTrailers: undefined,
  status: 0,
  details: '',
  flags: '',
  bytesReceived: 0,
  bytesSent: 0,
  upstreamHost: undefined,
  upstreamCluster: undefined,
  upstreamAttempts: 0,
  routeName: undefined,
  virtualHost: undefined,
  downstreamRemote: '',
  downstreamLocal: '',
  metadata: new Map(),
}

/** The error code that a reply gets, or its own body where it stays as it is. */
function mapped(changes: Partial<LogRecord> & { readonly status: number }): string {
  const reply = { status: changes.status, details: 'd', body: Buffer.from('plain') }
  const { status, headers, body } = mapReply(mappers, reply, { ...RECORD, ...changes })
  expect(status).toBe(changes.status)
  const text = Buffer.from(body!).toString()
  if (text === 'plain') return text
  expect(headers?.get('content-type')).toBe('application/json')
  return (JSON.parse(text) as { error: { code: string } }).error.code
}

describe('the compiled mappers of local replies', () => {
  it.each([
    ['NC', 503, 'undecided'],
    ['NC', 500, 'no_backend'],
    ['NR', 404, 'route_not_found'],
    ['UH', 503, 'no_endpoints'],
    ['UF', 503, 'endpoint_unavailable'],
    ['URX,UF', 503, 'endpoint_unavailable'],
    ['UC', 503, 'endpoint_unavailable'],
    ['UPE', 502, 'endpoint_unavailable'],
    ['UT', 504, 'endpoint_timeout'],
    ['SI', 408, 'request_timeout'],
    ['SI', 504, 'stream_timeout'],
    ['UO', 503, 'overloaded'],
    ['', 503, 'decision_unavailable'],
    ['', 504, 'decision_timeout'],
    ['', 400, 'bad_request'],
    ['', 426, 'bad_request'],
    ['', 403, 'upgrade_refused'],
    ['', 413, 'request_too_large'],
    ['', 431, 'headers_too_large'],
    ['', 502, 'gateway_error'],
    ['', 302, 'plain'],
    ['', 404, 'plain'],
    ['', 500, 'plain'],
  ])('%s %i is %s', (flags, status, code) => {
    expect(mapped({ flags, status })).toBe(code)
  })

  it('leave answers of ours and of gRPC calls alone, whatever their status', () => {
    const metadata = new Map([['signalbox', { answered: 'signalbox', reason: 'no_endpoints' }]])
    for (const status of [200, 400, 404, 413, 429, 503]) expect(mapped({ status, metadata })).toBe('plain')
    const requestHeaders = new HeaderList([['content-type', 'application/grpc+proto']])
    expect(mapped({ status: 503, requestHeaders })).toBe('plain')
    expect(mapped({ status: 503, metadata: new Map([['signalbox', { reason: 'route' }]]) })).toBe(
      'decision_unavailable',
    )
  })

  it('say when to try again', () => {
    const reply = { status: 503, details: 'd' }
    expect(mapReply(mappers, reply, { ...RECORD, status: 503 }).headers?.get('retry-after')).toBe('1')
    expect(mapReply(mappers, { ...reply, status: 504 }, { ...RECORD, status: 504 }).headers?.get('retry-after')).toBe(
      undefined,
    )
  })
})
