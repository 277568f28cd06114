import { ROLLOUT_SCREENER } from '../../inference/scheduling/plugins/disaggregatedset-rollout-screener.ts'
import type { RolloutFigures } from '../../inference/scheduling/screener.ts'
import type { Metrics, Sample } from '../../telemetry/metrics.ts'
import { shownNames } from './describe-pools.ts'

/** Pools by name, as far as rollouts go (`PoolKeeper`). */
type Pools = ReadonlyMap<string, { screenerFigures(): readonly RolloutFigures[] }>

/** Which labels tell the pool, and under which prefix. */
interface Naming {
  readonly prefix: string
  readonly labels: readonly string[]
  readonly values: (pool: string) => readonly string[]
}

/**
 * How requests are spread over the revisions of DisaggregatedSets; without a pool that asks for it the families are empty. With `compat` under
 * llm-d's names too, where a pool that is not the only one with a screener tells its name beside the plug-in's.
 */
export function describeRollouts(metrics: Metrics, pools: () => Pools, compat: boolean): void {
  describeAs(metrics, pools, { prefix: 'signalbox', labels: ['pool'], values: pool => [pool] })
  if (!compat) return
  const values = (pool: string): readonly string[] => {
    const screened = [...pools()].filter(([, keeper]) => keeper.screenerFigures().length > 0).map(([name]) => name)
    const name = screened.length === 1 ? ROLLOUT_SCREENER : `${ROLLOUT_SCREENER}/${shownNames(screened).get(pool)!}`
    return [ROLLOUT_SCREENER, name]
  }
  describeAs(metrics, pools, { prefix: 'llm_d_epp', labels: ['plugin_type', 'plugin_name'], values })
}

function describeAs(metrics: Metrics, pools: () => Pools, { prefix, labels, values }: Naming): void {
  const each = (read: (figures: RolloutFigures) => readonly Sample[]) => () =>
    [...pools()].flatMap(([pool, keeper]) =>
      keeper
        .screenerFigures()
        .flatMap(read)
        .map(sample => ({ ...sample, labels: [...values(pool), ...sample.labels] })),
    )
  metrics.counter(
    `${prefix}_disaggregatedset_strict_header_no_match_total`,
    'Requests whose strict header left no endpoint',
    [...labels, 'selector'],
    each(({ noMatch }) => Array.from(noMatch, ([selector, value]) => ({ labels: [selector], value }))),
  )
  metrics.gauge(
    `${prefix}_disaggregatedset_revision_gating_share`,
    'Share of the requests that a revision gets, of those that name none; 0 = it is not complete',
    [...labels, 'mode', 'revision'],
    each(({ mode, shares }) => Array.from(shares, ([revision, value]) => ({ labels: [mode, revision], value }))),
  )
}
