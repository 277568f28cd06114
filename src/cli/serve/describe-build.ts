import type { Metrics } from '../../telemetry/metrics.ts'

/** Which build this is. Images set `SIGNALBOX_COMMIT`. */
export function describeBuild(metrics: Metrics, version: string, env: NodeJS.ProcessEnv, compat: boolean): void {
  const commit = env['SIGNALBOX_COMMIT'] || 'unknown'
  const read = () => [{ labels: [commit, version], value: 1 }]
  const names = compat ? ['signalbox_info', 'llm_d_epp_info', 'bbr_info'] : ['signalbox_info']
  for (const name of names) metrics.gauge(name, 'Which build this is', ['commit', 'build_ref'], read)
}
