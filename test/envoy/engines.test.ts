import { afterAll, beforeAll, expect, it, jest } from '@jest/globals'
import { ENGINES } from '../../src/sim/engine-pages.ts'
import type { Simulator } from '../../src/sim/simulator.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { modelsAreListed } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { addressOf, occupy, scraped, startSimulators } from '../support/simulators.ts'

jest.setTimeout(120_000)

const POOL = 'default/pool'

function poolYaml(simulators: readonly Simulator[]): string {
  const endpoints = simulators.map(
    ({ host, port }, i) =>
      `    - { address: "${host}", port: ${port}, labels: { llm-d.ai/engine-type: ${ENGINES[i]!} } }`,
  )
  return `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: pool }
spec:
  selector: { matchLabels: { pool: pool } }
  targetPorts: [{ number: 8000 }]
---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: pool, labels: { pool: pool } }
spec:
  endpoints:
${endpoints.join('\n')}
`
}

describeOnPlanes('a pool of every engine', plane => {
  let simulators: Simulator[]
  let rig: Rig

  beforeAll(async () => {
    const started = ENGINES.map(engine => startSimulators([engine], { models: ['llama'], engine, maxNumSeqs: 1 }))
    simulators = (await Promise.all(started)).flat()
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml(simulators),
        routeYaml({ models: { '': 'pool' } }),
        parametersYaml('{ scheduling: { scorers: [{ type: queue-scorer }] } }'),
      ),
    })
    await modelsAreListed(
      rig,
      simulators.map(simulator => ({ address: addressOf(simulator) })),
    )
    await rig.decides('/v1/completions')
  })
  afterAll(async () => {
    await rig?.stop()
    await Promise.all((simulators ?? []).map(simulator => simulator.close()))
  })

  const complete = async (prompt: string): Promise<string | undefined> => {
    const response = await sendHttp1({
      port: rig.port,
      path: '/v1/completions',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'llama', prompt, max_tokens: 1 }),
    })
    expect(response.status).toBe(200)
    return response.headers['x-sim-replica']
  }

  it.each(ENGINES)('sends requests to the one of %s while the others are busy', async engine => {
    const busy = simulators.filter(({ name }) => name !== engine)
    const occupations = await Promise.all(busy.map(simulator => occupy(simulator, 'llama', 8)))
    try {
      const endpoints = await scraped(rig, POOL)
      const loadOf = ({ address }: { address: string }) => {
        const simulator = simulators.find(each => addressOf(each) === address)!
        return simulator.name === engine ? [0, 0] : [7, 1]
      }
      expect(endpoints.map(({ waiting, running }) => [waiting, running])).toEqual(endpoints.map(loadOf))
      for (let i = 0; i < 4; i++) expect(await complete(`request ${i} for ${engine}`)).toBe(engine)
    } finally {
      await Promise.all(occupations.map(occupation => occupation.end()))
    }
  })

  it('tells how old what is known of them is, and that their pages lack nothing', async () => {
    await scraped(rig, POOL)
    const metrics = await rig.metrics()
    const samples = [...metrics.keys()]
    expect(samples.filter(sample => sample.startsWith('signalbox_endpoint_metrics_age_seconds{'))).toHaveLength(4)
    expect(metrics.get(`signalbox_pool_stale_endpoints{pool="${POOL}"}`)).toBe(0)
    expect(samples.filter(sample => /^signalbox_scrape_(missing|invalid)_total\{/.test(sample))).toEqual([])
  })
})
