import { afterEach, expect, it } from '@jest/globals'
import { createLog } from '../../telemetry/log.ts'
import { Metrics } from '../../telemetry/metrics.ts'
import { Threads } from '../../threads/threads.ts'
import type { MeasuringOptions } from '../../threads/measuring.ts'
import { describeAll } from './describe-all.ts'
import { Scrapers } from './scrapers.ts'

/**
 * epp.md §5.1 and §5.2, row by row: `name type labels | buckets`. What of the tables is not here is left out, with the reason in docs/metrics.md.
 * M = model_name target_model_name fairness_id priority
 */
const TABLE = `
request_total counter M
request_error_total counter M error_code
request_duration_seconds histogram M | .005 .025 .05 .1 .2 .4 .6 .8 1 1.25 1.5 2 3 4 5 6 8 10 15 20 30 45 60 120 180 240 300 360 480 600 900 1200 1800 2700 3600
request_size_bytes histogram M | 64 128 256 512 1024 2048 4096 8192 16384 32768 65536 131072 262144 524288 1048576 2097152 4194304 8388608 16777216 33554432 67108864 134217728 268435456 536870912 1073741824
response_size_bytes histogram M | 1 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32778 65536
request_input_tokens histogram M | 1 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32778 65536 131072 262144 524288 1048576
request_cached_tokens histogram M | 1 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32778 65536 131072 262144 524288 1048576
request_output_tokens histogram M | 1 8 16 32 64 128 256 512 1024 2048 4096 8192
request_running gauge M
request_ntpot_seconds histogram M | .001 .002 .005 .01 .02 .05 .1 .2 .5 1 2 5 10
request_ttft_seconds histogram M streaming | .005 .025 .05 .1 .2 .4 .6 .8 1 1.25 1.5 2 3 4 5 6 8 10 15 20 30 45 60 120
request_streaming_tpot_seconds histogram M | .0005 .00205 .005 .01 .02 .04 .06 .08 .1 .125 .15 .2 .3 .4 .5 .6 .8 1 2
request_streaming_itl_seconds histogram M | .001 .005 .01 .02 .04 .06 .08 .1 .15 .2 .3 .5 .75 1 2
average_kv_cache_utilization gauge name
average_queue_size gauge name
average_running_requests gauge name
std_dev_kv_cache_utilization gauge name
std_dev_queue_size gauge name
std_dev_running_requests gauge name
ready_endpoints gauge name
per_endpoint_queue_size gauge name model_server_endpoint
scheduler_e2e_duration_seconds histogram | .0001 .0002 .0005 .001 .002 .005 .01 .02 .05 .1
scheduler_attempts_total counter status target_model_name endpoint_name namespace port
plugin_duration_seconds histogram extension_point plugin_type plugin_name | .0001 .0002 .0005 .001 .002 .005 .01 .02 .05 .1
request_processing_duration_seconds histogram | .0005 .001 .002 .005 .01 .015 .025 .04 .06 .1 .25 .5 1 2.5 5 10
response_processing_duration_seconds histogram | .0001 .00025 .0005 .001 .0025 .005 .01 .025 .05 .1 .25 .5 1 2.5 5
info gauge commit build_ref
model_rewrite_decisions_total counter model_rewrite_name model_name target_model
datalayer_poll_errors_total counter source_type
datalayer_extract_errors_total counter source_type extractor_type
prefix_indexer_size gauge plugin_name plugin_type
prefix_indexer_hit_ratio histogram plugin_name plugin_type | 0 .1 .2 .3 .4 .5 .6 .7 .8 .9 1
prefix_indexer_hit_bytes histogram plugin_name plugin_type | 0 16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536
disagg_decision_total counter plugin_name plugin_type model_name decision_type
disaggregatedset_strict_header_no_match_total counter plugin_type plugin_name selector
disaggregatedset_revision_gating_share gauge plugin_type plugin_name mode revision
flow_control_request_queue_duration_seconds histogram fairness_id priority outcome inference_pool model_name target_model_name | .0001 .0005 .001 .005 .01 .025 .05 .1 .25 .5 1 2.5 5 10 30 60
flow_control_request_enqueue_duration_seconds histogram fairness_id priority outcome | .0001 .0002 .0005 .001 .002 .005 .01 .02 .05 .1
flow_control_queue_size gauge fairness_id priority inference_pool model_name target_model_name
flow_control_queue_bytes gauge fairness_id priority inference_pool model_name target_model_name
flow_control_pool_saturation gauge inference_pool stage
flow_control_stale_endpoints gauge detector
flow_control_capacity_utilization_requests gauge priority inference_pool
flow_control_capacity_utilization_bytes gauge priority inference_pool
flow_control_global_capacity_utilization_requests gauge inference_pool
flow_control_global_capacity_utilization_bytes gauge inference_pool
flow_control_requests_total counter outcome priority inference_pool
flow_control_revocations_issued_total counter priority inference_pool
flow_control_revocations_total counter outcome inference_pool
flow_control_reclaim_target gauge inference_pool
flow_control_pending_reclaim gauge inference_pool
flow_control_revocation_confirmation_seconds histogram inference_pool | .005 .01 .025 .05 .1 .25 .5 1 2.5 5 10
extproc_streams_inflight gauge
extproc_stream_duration_seconds histogram | .001 .005 .01 .05 .1 .5 1 5 10 30 60 120 300 600
extproc_streams_total counter code
inflight_requests gauge endpoint_name namespace producer_name fairness_id priority
inflight_tokens gauge endpoint_name namespace producer_name fairness_id priority
kv_cache_index_admissions_total counter
kv_cache_index_evictions_total counter
`
const BBR = `
info gauge commit build_ref
success_total counter
body_field_not_found_total counter field
body_field_empty_total counter field
`

interface Row {
  readonly name: string
  readonly type: string
  readonly labels: readonly string[]
  readonly buckets: readonly number[] | undefined
}

/** Remembers what is described. */
class Described extends Metrics {
  readonly rows: Row[] = []

  override gauge(...[name, help, labels, read]: Parameters<Metrics['gauge']>): void {
    this.rows.push({ name, type: 'gauge', labels, buckets: undefined })
    super.gauge(name, help, labels, read)
  }

  override counter(...[name, help, labels, read]: Parameters<Metrics['counter']>): void {
    this.rows.push({ name, type: 'counter', labels, buckets: undefined })
    super.counter(name, help, labels, read)
  }

  override histogram(...[name, help, labels, buckets, read]: Parameters<Metrics['histogram']>): void {
    this.rows.push({ name, type: 'histogram', labels, buckets })
    super.histogram(name, help, labels, buckets, read)
  }
}

function rowsOf(table: string, prefix: string): Row[] {
  return table
    .trim()
    .split('\n')
    .map(line => {
      const [head, buckets] = line.split(' |')
      const [name, type, ...labels] = head!.split(' ')
      const all = labels.flatMap(label =>
        label === 'M' ? ['model_name', 'target_model_name', 'fairness_id', 'priority'] : [label],
      )
      return {
        name: `${prefix}${name}`,
        type: type!,
        labels: all,
        buckets: buckets === undefined ? undefined : buckets.trim().split(' ').map(Number),
      }
    })
}

const started: Threads[] = []
afterEach(async () => {
  await Promise.all(started.splice(0).map(threads => threads.drain(0)))
})

async function describePage(measuring: MeasuringOptions, compat: boolean): Promise<Described> {
  const threads = new Threads({
    count: 1,
    listen: { host: '127.0.0.1', port: 0 },
    ownAddresses: false,
    worker: {
      transport: 'own',
      trust: 'all',
      tls: undefined,
      maxHeldBytes: 1_000_000,
      modeOverride: 'none',
      maxConnectionAgeMs: undefined,
      releaseBy: 'response',
      plugins: [],
      measuring,
    },
    log: createLog('silent'),
    onLive: () => {},
  })
  started.push(threads)
  const metrics = new Described()
  await describeAll(metrics, { threads, scrapers: new Scrapers(createLog('silent')) }, { compat, threads: measuring })
  return metrics
}

const ALL: MeasuringOptions = { requests: { tokens: true, pluginShare: 1 }, streams: true }
const byName = (a: Row, b: Row) => (a.name < b.name ? -1 : 1)

it('llm-d’s names have llm-d’s types, labels and buckets', async () => {
  const { rows } = await describePage(ALL, true)
  const compat = rows.filter(({ name }) => !name.startsWith('signalbox_'))
  const expected = [...rowsOf(TABLE, 'llm_d_epp_'), ...rowsOf(BBR, 'bbr_')]
  expect(compat.toSorted(byName)).toEqual(expected.toSorted(byName))
})

it('the page can be read, with each family once', async () => {
  const metrics = await describePage(ALL, true)
  const page = await metrics.page()
  for (const { name, type } of metrics.rows) expect(page.split(`# TYPE ${name} ${type}\n`)).toHaveLength(2)
  expect(page).toContain('llm_d_epp_info{commit="unknown",build_ref="')
})

it('without --compat-metrics only ours are shown, and of those only what is counted', async () => {
  const names = async (measuring: MeasuringOptions) =>
    (await describePage(measuring, false)).rows.map(({ name }) => name)
  for (const measuring of [{}, ALL]) for (const name of await names(measuring)) expect(name).toMatch(/^signalbox_/)
  const off = await names({})
  expect(off).toContain('signalbox_pool_average_queue_size')
  expect(off).not.toContain('signalbox_request_total')
  const on = await names({ requests: { tokens: false, pluginShare: 0 } })
  expect(on).toContain('signalbox_request_duration_seconds')
  for (const name of ['signalbox_request_ttft_seconds', 'signalbox_ext_proc_stream_duration_seconds'])
    expect(on).not.toContain(name)
})
