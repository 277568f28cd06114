import { expect, it } from '@jest/globals'
import { Metrics } from '../../telemetry/metrics.ts'
import { describeRollouts } from './describe-rollouts.ts'

const FIGURES = {
  screenerFigures: () => [{ mode: 'sum', shares: new Map([['a', 0.25]]), noMatch: new Map([['zone', 2]]) }],
}
const NONE = { screenerFigures: () => [] }

async function page(pools: Readonly<Record<string, typeof FIGURES | typeof NONE>>): Promise<string[]> {
  const metrics = new Metrics()
  describeRollouts(metrics, () => new Map(Object.entries(pools)), true)
  return (await metrics.page()).split('\n').filter(line => /^\w+_disaggregatedset_/.test(line))
}

it('shows shares of revisions and headers without a match, under llm-d’s names too', async () => {
  const type = 'disaggregatedset-rollout-screener'
  const plugin = `plugin_type="${type}",plugin_name="${type}`
  expect(await page({ 'n/p': FIGURES, 'n/q': NONE })).toEqual([
    'signalbox_disaggregatedset_strict_header_no_match_total{pool="n/p",selector="zone"} 2',
    'signalbox_disaggregatedset_revision_gating_share{pool="n/p",mode="sum",revision="a"} 0.25',
    `llm_d_epp_disaggregatedset_strict_header_no_match_total{${plugin}",selector="zone"} 2`,
    `llm_d_epp_disaggregatedset_revision_gating_share{${plugin}",mode="sum",revision="a"} 0.25`,
  ])
  const two = await page({ 'n/p': FIGURES, 'n/q': FIGURES })
  expect(two).toHaveLength(8)
  expect(two).toContain(`llm_d_epp_disaggregatedset_strict_header_no_match_total{${plugin}/q",selector="zone"} 2`)
})
