import { create, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import { entry, Play, plan, pool, rule, sendBody, target } from '../../test/support/pipeline-play.ts'
import { OrcaLoadReportSchema } from '../gen/xds/data/orca/v3/orca_load_report_pb.ts'
import { poolPlan } from '../inference/testing.ts'

const BODY = '{"model":"a","messages":[{"role":"user","content":"x"}]}'
const FORMAT = 'endpoint-load-metrics-format'

function play(orca: boolean): Play {
  const rules = [rule('r', { targets: [target('t', { pool: 'p' })] })]
  const entries = [entry(rules, { attach: 'gateway', followResponse: true, body: 'full-duplex' })]
  const endpoints = [{ address: '10.0.0.1:8000', labels: {} }]
  const scrape = { ...poolPlan([]).scrape, ...(orca ? { orca } : {}) }
  return new Play(plan(entries, [pool('p', [], { endpoints, scrape })]), 'response')
}

function answered(orca: boolean, name: string, value: string, part: 'headers' | 'trailers' = 'headers') {
  const made = play(orca)
  const envoy = made.open({ mode: 'duplex', body: '' })
  sendBody(envoy, BODY, true)
  const named = { headers: [{ key: name, rawValue: Buffer.from(value) }] }
  if (part === 'headers')
    envoy.sends({ request: { case: 'responseHeaders', value: { headers: named, endOfStream: true } } })
  else {
    envoy.sends({ request: { case: 'responseHeaders', value: { headers: { headers: [] }, endOfStream: false } } })
    envoy.sends({ request: { case: 'responseBody', value: { body: Buffer.from('x'), endOfStream: false } } })
    envoy.sends({ request: { case: 'responseTrailers', value: { trailers: named } } })
    expect(envoy.receivesWords().at(-1)).toMatch(/trailers/)
  }
  return made.linked.pools.get('p')!
}

const REPORTS = [
  ['endpoint-load-metrics', 'named_metrics.kv_cache_usage_perc=0.5,named_metrics.num_requests_waiting=3'],
  ['endpoint-load-metrics', 'JSON {"named_metrics":{"kv_cache_usage_perc":0.5,"num_requests_waiting":3}}'],
  ['endpoint-load-metrics', `BIN ${binary()}`],
  ['endpoint-load-metrics-bin', binary()],
] as const

function binary(): string {
  const namedMetrics = { kv_cache_usage_perc: 0.5, num_requests_waiting: 3 }
  const bytes = toBinary(OrcaLoadReportSchema, create(OrcaLoadReportSchema, { namedMetrics }))
  return Buffer.from(bytes).toString('base64')
}

describe('load reports', () => {
  it('are asked for where the pool wants them', () => {
    expect(play(true).send({ mode: 'duplex', body: BODY }).set[FORMAT]).toBe('TEXT')
    expect(play(false).send({ mode: 'duplex', body: BODY }).set[FORMAT]).toBeUndefined()
  })

  it.each(REPORTS.flatMap(each => [['headers', ...each] as const, ['trailers', ...each] as const]))(
    'in %s, as %s, are what is known of the endpoint: %s',
    (part, name, value) => {
      const { table } = answered(true, name, value, part)
      expect([table.waiting[0], table.kvUsage[0]]).toEqual([3, 0.5])
      expect(table.scrapedAt[0]).toBeGreaterThan(0)
      // It says nothing of what runs.
      expect(table.missing[0]).toBe(2)
    },
  )

  it.each(['nonsense', 'num_requests_waiting=NaN'])('that say nothing change nothing: %s', value => {
    expect(answered(true, 'endpoint-load-metrics', value).table.scrapedAt[0]).toBe(0)
  })

  it('nobody asked for are passed over', () => {
    for (const part of ['headers', 'trailers'] as const) {
      const { table } = answered(false, 'endpoint-load-metrics', 'num_requests_waiting=3', part)
      expect(table.scrapedAt[0]).toBe(0)
    }
  })
})
