import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { HTTPAccessLogEntrySchema } from '../gen/envoy/data/accesslog/v3/accesslog_pb.ts'
import { StreamAccessLogsMessageSchema } from '../gen/envoy/service/accesslog/v3/als_pb.ts'
import { readAccessLogs } from './access-log-reader.ts'
import { MalformedMessageError } from './wire-fields.ts'

function message(...logEntry: MessageInitShape<typeof HTTPAccessLogEntrySchema>[]): Uint8Array {
  return toBinary(
    StreamAccessLogsMessageSchema,
    create(StreamAccessLogsMessageSchema, {
      identifier: { logName: 'l', node: { id: 'n' } },
      logEntries: { case: 'httpLogs', value: { logEntry } },
    }),
  )
}

function at(address: string, portValue: number) {
  const socketAddress = { address, portSpecifier: { case: 'portValue' as const, value: portValue } }
  return { address: { case: 'socketAddress' as const, value: socketAddress } }
}

describe('readAccessLogs', () => {
  it('reads pool, endpoint and upstream among everything else', () => {
    const bytes = message(
      {
        commonProperties: {
          sampleRate: 1,
          upstreamRemoteAddress: at('10.0.0.1', 8000),
          upstreamLocalAddress: at('10.0.0.2', 1),
          startTime: { seconds: 5n },
          duration: { seconds: 2n, nanos: 250_000_000 },
          metadata: {
            filterMetadata: {
              other: { endpoint: 'wrong', pool: 'wrong' },
              signalbox: {
                endpoint: '10.0.0.1:8000',
                pool: 't-1',
                model: 'm',
                queue: 3,
                nested: { pool: 'wrong' },
              },
            },
          },
          customTags: { pool: 'wrong' },
        },
        request: { path: '/v1', requestHeaders: { endpoint: 'wrong' } },
        response: { responseBodyBytes: 5n },
      },
      { commonProperties: { upstreamRemoteAddress: at('fd00::1', 80) } },
      { commonProperties: { upstreamRemoteAddress: { address: { case: 'pipe', value: { path: '/run/x.sock' } } } } },
      {},
      { commonProperties: { metadata: { filterMetadata: { signalbox: { pool: 7, endpoint: '' } } } } },
    )
    expect(readAccessLogs(bytes)).toEqual([
      { endpoint: '10.0.0.1:8000', pool: 't-1', upstream: '10.0.0.1:8000', durationMs: 2250 },
      { upstream: '[fd00::1]:80' },
      { upstream: '/run/x.sock' },
      {},
      { endpoint: '' },
    ])
  })

  it('reads load reports of headers and of trailers, of which those are newer', () => {
    const commonProperties = {
      duration: { seconds: 2n, nanos: 500_000_000 },
      timeToFirstUpstreamRxByte: { seconds: 0n, nanos: 500_000_000 },
    }
    const text = { 'endpoint-load-metrics': 'TEXT a=1', other: 'x' }
    const binary = { 'endpoint-load-metrics-bin': 'AAAA' }
    const durationMs = 2500
    expect(
      readAccessLogs(
        message(
          { commonProperties, response: { responseHeaders: text } },
          { commonProperties, response: { responseTrailers: binary } },
          { commonProperties, response: { responseTrailers: { ...text }, responseHeaders: { ...text } } },
          { commonProperties, response: { responseHeaders: text, responseTrailers: binary } },
          { commonProperties, response: { responseHeaders: { ...text, ...binary }, responseTrailers: { other: 'x' } } },
          { commonProperties, request: { requestHeaders: text } },
        ),
      ),
    ).toEqual([
      { durationMs, report: 'TEXT a=1', reportAgeMs: 2000 },
      { durationMs, binaryReport: 'AAAA', reportAgeMs: 0 },
      { durationMs, report: 'TEXT a=1', reportAgeMs: 0 },
      { durationMs, binaryReport: 'AAAA', reportAgeMs: 0 },
      { durationMs, report: 'TEXT a=1', binaryReport: 'AAAA', reportAgeMs: 2000 },
      { durationMs },
    ])
  })

  it('takes any truncation as an error or as fewer entries, never as wrong ones', () => {
    const bytes = message({ commonProperties: { upstreamRemoteAddress: at('10.0.0.1', 8000) } })
    for (let length = 0; length < bytes.length; length++) {
      let entries
      try {
        entries = readAccessLogs(bytes.subarray(0, length))
      } catch {
        continue
      }
      expect(entries).toEqual([])
    }
  })

  it('reads what protobuf-es has written, whatever else is there', () => {
    const text = fc.string({ unit: 'binary', maxLength: 80 })
    const name = fc.constantFrom('signalbox', 'envoy.lb', 'endpoint', 'pool', 'signalbox2', '')
    const struct = fc.dictionary(
      name,
      fc.oneof(text, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean()),
    )
    const duration = fc.record({
      seconds: fc.bigInt(0n, 5000n),
      nanos: fc.nat(999_999_999),
    })
    const headers = fc.dictionary(fc.constantFrom('endpoint-load-metrics', 'endpoint-load-metrics-bin', 'x'), text)
    const entry = fc.record({
      metadata: fc.dictionary(name, struct),
      duration: fc.option(duration, { nil: undefined }),
      first: fc.option(duration, { nil: undefined }),
      port: fc.nat(65_535),
      headers,
      trailers: headers,
    })
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 4 }), made => {
        const read = readAccessLogs(
          message(
            ...made.map(({ metadata, duration: whole, first, port, headers: responseHeaders, trailers }) => ({
              commonProperties: {
                metadata: { filterMetadata: metadata },
                ...(whole === undefined ? {} : { duration: whole }),
                ...(first === undefined ? {} : { timeToFirstUpstreamRxByte: first }),
                upstreamRemoteAddress: at('10.0.0.1', port),
                upstreamCluster: 'signalbox',
              },
              request: { path: '/', requestHeaders: { pool: 'wrong' } },
              response: { responseHeaders, responseTrailers: trailers },
            })),
          ),
        )
        const ms = ({ seconds, nanos }: { seconds: bigint; nanos: number }) => Number(seconds) * 1000 + nanos / 1e6
        expect(read).toHaveLength(made.length)
        for (const [i, { metadata, duration: whole, first, port, headers: before, trailers }] of made.entries()) {
          const { endpoint, pool } = metadata['signalbox'] ?? {}
          const has = (map: object) => 'endpoint-load-metrics' in map || 'endpoint-load-metrics-bin' in map
          const source = has(trailers) ? trailers : before
          const whenOver = whole === undefined ? 0 : ms(whole)
          const age = has(trailers) ? 0 : Math.max(0, whenOver - (first === undefined ? whenOver : ms(first)))
          const entry = read[i]!
          expect([entry.endpoint, entry.pool, entry.upstream]).toEqual([
            typeof endpoint === 'string' ? endpoint : undefined,
            typeof pool === 'string' ? pool : undefined,
            `10.0.0.1:${port}`,
          ])
          expect([entry.report, entry.binaryReport]).toEqual([
            source['endpoint-load-metrics'],
            source['endpoint-load-metrics-bin'],
          ])
          if (whole === undefined) expect(entry.durationMs).toBeUndefined()
          else expect(entry.durationMs).toBeCloseTo(whenOver, 2)
          if (has(source)) expect(entry.reportAgeMs).toBeCloseTo(age, 2)
          else expect(entry.reportAgeMs).toBeUndefined()
        }
      }),
      { seed: 7, numRuns: 300 },
    )
  })

  it('takes a negative duration, which there is none of, for no time', () => {
    const duration = { seconds: -1n, nanos: -500_000_000 }
    expect(readAccessLogs(message({ commonProperties: { duration } }))).toEqual([{ durationMs: 0 }])
  })

  it('takes noise as an error or as some entries, and comes to an end', () => {
    const good = message({
      commonProperties: {
        upstreamRemoteAddress: at('10.0.0.1', 8000),
        metadata: { filterMetadata: { signalbox: { pool: 'a' } } },
      },
    })
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }), changes => {
        const bytes = Uint8Array.from(good)
        for (const [place, value] of changes) bytes[place] = value
        try {
          expect(readAccessLogs(bytes).length).toBeLessThanOrEqual(bytes.length)
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessageError)
        }
      }),
      { seed: 7, numRuns: 2000 },
    )
  })
})
