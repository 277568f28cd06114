import { FLOW_OUTCOMES } from '../../inference/flow-control/flow-outcome.ts'
import type { FlowFigures } from '../../inference/flow-control/flow-keeper.ts'
import { estimateEntries } from '../../inference/prefix-index-entries.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import { Figure } from '../../threads/thread-figures.ts'
import { describeCapacity } from './describe-capacity.ts'
import { shownNames } from './describe-pools.ts'
import type { MetricSources } from './describe-metrics.ts'
import { describeRevocations } from './describe-revocations.ts'

const SOURCE = 'metrics-data-source'
const EXTRACTOR = 'core-metrics-extractor'
const PREFIX_PLUGIN = ['approx-prefix-cache-producer', 'approx-prefix-cache-producer'] as const

/** Families of the main thread under llm-d's names, whose values are shown under names of ours elsewhere (epp.md §5.1). */
export function describeCompat(metrics: Metrics, sources: MetricSources & { readonly streams: boolean }): void {
  const { threads, scrapers } = sources
  const { keeper, figures } = threads
  const sum = (which: 'missing' | 'invalid') =>
    scrapers.stats().reduce((all, [, stats]) => all + [...stats[which].values()].reduce((a, b) => a + b, 0), 0)
  metrics.counter('llm_d_epp_datalayer_poll_errors_total', 'Failed scrapes', ['source_type'], () => [
    { labels: [SOURCE], value: scrapers.stats().reduce((all, [, { failed }]) => all + failed, 0) },
  ])
  metrics.counter(
    'llm_d_epp_datalayer_extract_errors_total',
    'Values of good scrapes that were missing or made no sense',
    ['source_type', 'extractor_type'],
    () => [{ labels: [SOURCE, EXTRACTOR], value: sum('missing') + sum('invalid') }],
  )
  metrics.gauge(
    'llm_d_epp_prefix_indexer_size',
    'Blocks in the approximate prefix index, by a sample of it',
    ['plugin_name', 'plugin_type'],
    () => {
      const sizes = Array.from(keeper.pools.values(), pool => pool.share().index).flatMap(index =>
        index === undefined || index === 'known' ? [] : [estimateEntries(index)],
      )
      return sizes.length === 0 ? [] : [{ labels: PREFIX_PLUGIN, value: sizes.reduce((a, b) => a + b, 0) }]
    },
  )
  if (sources.streams)
    metrics.gauge('llm_d_epp_extproc_streams_inflight', 'ext_proc streams that are open', [], () => [
      { labels: [], value: figures.sum(Figure.OPEN_STREAMS) },
    ])
  describeKvIndex(metrics, sources)
  describeFlowControl(metrics, sources)
}

function describeKvIndex(metrics: Metrics, { threads }: MetricSources): void {
  const counter = (name: string, help: string, count: (pool: LedgerFigures) => number) =>
    metrics.counter(`llm_d_epp_kv_cache_index_${name}_total`, help, [], () => {
      const ledgers = Array.from(threads.keeper.pools.values(), ({ kvLedger }) => kvLedger).filter(
        ledger => ledger !== undefined,
      )
      return ledgers.length === 0
        ? []
        : [
            {
              labels: [],
              value: ledgers.reduce(
                (all, { counts, size }) =>
                  all + count({ stored: counts.stored, removed: counts.removed, evicted: size.evicted }),
                0,
              ),
            },
          ]
    })
  counter('admissions', 'Blocks that engines have told of', ({ stored }) => stored)
  counter(
    'evictions',
    'Blocks that engines have given up, or that were forgotten',
    ({ removed, evicted }) => removed + evicted,
  )
}

interface LedgerFigures {
  readonly stored: number
  readonly removed: number
  readonly evicted: number
}

function describeFlowControl(metrics: Metrics, { threads }: MetricSources): void {
  const flows = (): [string, FlowFigures][] => {
    const { pools } = threads.keeper
    const shown = shownNames(pools.keys())
    return [...pools].flatMap(([name, pool]) => {
      const figures = pool.flowFigures(Date.now())
      return figures === undefined ? [] : [[shown.get(name)!, figures]]
    })
  }
  const names = { prefix: 'llm_d_epp_flow_control', pool: 'inference_pool' }
  describeCapacity(metrics, { ...names, band: ['priority', 'inference_pool'] }, flows)
  metrics.gauge(
    'llm_d_epp_flow_control_stale_endpoints',
    'Endpoints that count as full because nothing is known of them',
    ['detector'],
    () => {
      const byDetector = new Map<string, number>()
      for (const [, { plan, stale }] of flows()) {
        const { type } = plan.saturation
        byDetector.set(type, (byDetector.get(type) ?? 0) + stale)
      }
      return Array.from(byDetector, ([detector, value]) => ({ labels: [detector], value }))
    },
  )
  metrics.counter(
    'llm_d_epp_flow_control_requests_total',
    'Requests that came to a queue, by what became of them',
    ['outcome', 'priority', 'inference_pool'],
    () =>
      flows().flatMap(([pool, { bands }]) =>
        bands.flatMap(({ outcomes, plan }) =>
          outcomes.map((value, outcome) => ({
            labels: [FLOW_OUTCOMES[outcome]!, String(plan.priority), pool],
            value,
          })),
        ),
      ),
  )
  describeRevocations(metrics, names, flows)
}
