import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import type { HTTPAccessLogEntrySchema } from '../gen/envoy/data/accesslog/v3/accesslog_pb.ts'
import { StreamAccessLogsMessageSchema } from '../gen/envoy/service/accesslog/v3/als_pb.ts'
import { readAccessLogs } from './access-log-service.ts'

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
})
