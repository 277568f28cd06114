import { describe, expect, it } from '@jest/globals'
import { scrape } from '../../src/inference/testing.ts'
import { destination } from './picker-answer.ts'
import { address, PickerRig, pod } from './picker-rig.ts'

/** Replica 0 runs small batches, replica 1 large ones: 5 ms per token and 0.5 more for each request in the batch. */
const BATCHES = [2, 60]
const PODS = BATCHES.map(() => pod(0, 0.5))
const REQUEST = '{"model":"m","prompt":"x"}'

const CONFIG = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- { type: predicted-latency-producer, parameters: { streamingMode: true } }
- { type: slo-headroom-tier-filter, parameters: { epsilonExploreNeg: 0 } }
- type: latency-slo-admitter
- { type: latency-scorer, parameters: { headroomSelectionStrategy: STRATEGY } }
schedulingProfiles:
- name: default
  plugins: [{ pluginRef: slo-headroom-tier-filter }, { pluginRef: latency-scorer }]
`
const BATCH = `
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: batch }
spec: { priority: -1, poolRef: { name: pool } }
`

/** A picker whose replicas have been watched for a while, from scrape to scrape. */
function watched(strategy = 'least'): PickerRig {
  const rig = new PickerRig(PODS, CONFIG.replace('STRATEGY', strategy), BATCH)
  const pool = rig.plan.pools.get('default/pool')!
  const counters = BATCHES.map(() => ({ tokenGaps: 0, tokenGapSeconds: 0 }))
  for (let i = 0; i < 40; i++) {
    rig.now += 1000
    for (const [slot, batch] of BATCHES.entries()) {
      const page = counters[slot]!
      const ms = 5 + 0.5 * batch
      page.tokenGaps += 100
      page.tokenGapSeconds += ms / 10
      scrape(pool, pool.table.slotOf(address(slot))!, { running: batch, kvUsage: 0.5, ...page }, rig.now)
    }
  }
  return rig
}

const slo = (ttft: number, tpot: number, more = {}) => ({
  headers: { 'x-llm-d-slo-ttft-ms': String(ttft), 'x-llm-d-slo-tpot-ms': String(tpot), ...more },
  body: REQUEST,
})

describe('requests that say how fast they must be', () => {
  it('go where they will be in time, and fill who just reaches that', () => {
    // About 6.5 ms a token at the one, 35 at the other.
    expect(destination(watched().send(slo(60_000, 15)))).toBe(address(0))
    expect(destination(watched().send(slo(60_000, 100)))).toBe(address(1))
    expect(destination(watched('most').send(slo(60_000, 100)))).toBe(address(0))
  })

  it('are refused with 429 where nobody is, if they may be', () => {
    const rig = watched()
    const batch = { 'x-llm-d-inference-objective': 'batch' }
    const refused = rig.send(slo(60_000, 2, batch)).refusal
    expect(refused).toMatchObject({
      status: 429,
      headers: { 'x-llm-d-request-dropped-reason': 'rejected-saturated' },
    })
    expect(JSON.parse(refused!.body)).toMatchObject({ error: { code: 'not_admitted' } })
    expect(rig.inFlight).toBe(0)
    expect(rig.send(slo(60_000, 15, batch)).refusal).toBeUndefined()
    expect(rig.send(slo(60_000, 2)).refusal).toBeUndefined()
    expect(rig.send({ headers: batch, body: REQUEST }).refusal).toBeUndefined()
  })
})
