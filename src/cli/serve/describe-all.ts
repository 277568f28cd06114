import type { Metrics } from '../../telemetry/metrics.ts'
import { readVersion } from '../version.ts'
import { describeBuild } from './describe-build.ts'
import { describeCompat } from './describe-compat.ts'
import { describeMetrics, type MetricSources } from './describe-metrics.ts'
import { errorCodeOf } from './compat-error-codes.ts'
import { describePools, shownNames } from './describe-pools.ts'
import { describeRollouts } from './describe-rollouts.ts'
import { describeRequests } from './describe-requests.ts'
import type { MeasuringSettings } from './measuring-options.ts'

/** The metrics page of what always runs, with the kinds that were asked for. */
export async function describeAll(
  metrics: Metrics,
  sources: MetricSources,
  { compat, threads: { requests, streams = false } }: Pick<MeasuringSettings, 'compat' | 'threads'>,
): Promise<void> {
  const { keeper, series } = sources.threads
  describeMetrics(metrics, sources)
  describePools(metrics, () => keeper.pools, compat)
  describeRollouts(metrics, () => keeper.pools, compat)
  describeBuild(metrics, await readVersion(), process.env, compat)
  if (series !== undefined) {
    const kinds = { requests: requests !== undefined, streams, tokens: requests?.tokens === true }
    const shown = (label: string, value: string) =>
      label === 'inference_pool'
        ? (shownNames(keeper.pools.keys()).get(value) ?? value)
        : label === 'error_code'
          ? errorCodeOf(value)
          : value
    describeRequests(metrics, series, kinds, compat ? shown : undefined)
  }
  if (compat) describeCompat(metrics, { ...sources, streams })
}
