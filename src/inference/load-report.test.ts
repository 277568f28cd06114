import { create, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import { OrcaLoadReportSchema } from '../gen/xds/data/orca/v3/orca_load_report_pb.ts'
import { readBinaryLoadReport, readLoadReport } from './load-report.ts'

describe('readLoadReport', () => {
  it.each([
    ['named_metrics.kv_cache_usage_perc=0.5,named_metrics.num_requests_waiting=3', { kvUsage: 0.5, waiting: 3 }],
    ['TEXT named_metrics.kv_cache_utilization=0.25, cpu_utilization=0.9', { kvUsage: 0.25 }],
    ['{"named_metrics":{"kv_cache_usage_perc":0.5,"num_requests_waiting":3}}', { kvUsage: 0.5, waiting: 3 }],
    ['JSON {"num_requests_running": 7}', { running: 7 }],
    ['kv_cache_usage_perc=87,num_requests_waiting=NaN', { kvUsage: 1 }],
    ['num_requests_waiting=1e300', { waiting: 0x3fffffff }],
  ])('reads %s', (value, report) => {
    expect(readLoadReport(value)).toEqual(report)
  })

  it.each([
    '',
    'cpu_utilization=0.3',
    'num_requests_waiting=-1',
    'num_requests_waiting=',
    'num_requests_waiting',
    'JSON {',
    'JSON []',
    '{"named_metrics":[1]}',
    '{"num_requests_waiting":"3"}',
    '{"num_requests_waiting":null}',
    `num_requests_waiting=1,${'x=1,'.repeat(5000)}`,
  ])('finds nothing in %.40s', value => {
    expect(readLoadReport(value)).toBeUndefined()
  })

  it('reads the binary form', () => {
    const message = create(OrcaLoadReportSchema, {
      namedMetrics: { kv_cache_usage_perc: 0.5, num_requests_waiting: 2 },
    })
    const value = Buffer.from(toBinary(OrcaLoadReportSchema, message)).toString('base64')
    expect(readBinaryLoadReport(value)).toEqual({ kvUsage: 0.5, waiting: 2 })
    expect(readLoadReport(`BIN ${value}`)).toEqual({ kvUsage: 0.5, waiting: 2 })
    expect(readLoadReport('BIN %')).toBeUndefined()
    for (const bad of ['', '%%%', '/////w==', value.slice(0, -6)]) expect(readBinaryLoadReport(bad)).toBeUndefined()
  })
})
