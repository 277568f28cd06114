import { afterAll, beforeAll, expect, it, jest } from '@jest/globals'
import type { Simulator } from '../../src/sim/simulator.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { type ClientResponse, sendHttp1 } from '../support/http-client.ts'
import { modelsAreListed } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { addressOf, startSimulators } from '../support/simulators.ts'
import { waitFor } from '../support/wait-for.ts'

jest.setTimeout(60_000)

const NAMES = ['a', 'b', 'c', 'd']

const picker = (plugins: string) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
${plugins}`

describeOnPlanes('an EndpointPickerConfig', plane => {
  let simulators: Simulator[]
  let rig: Rig
  let pool: string

  beforeAll(async () => {
    simulators = await startSimulators(NAMES, { models: ['llama'] })
    pool = documents(
      GATEWAY,
      poolYaml({ addresses: simulators.map(addressOf) }),
      routeYaml({ models: { '': 'pool' } }),
      parametersYaml(),
    )
    rig = await Rig.start({ plane, config: pool })
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

  const complete = (headers: Readonly<Record<string, string>> = {}): Promise<ClientResponse> =>
    sendHttp1({
      port: rig.port,
      path: '/v1/completions',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model: 'llama', prompt: 'short', max_tokens: 1 }),
    })
  const replicasFor = async (count: number, headers?: Readonly<Record<string, string>>): Promise<Set<string>> => {
    const responses: ClientResponse[] = []
    for (let i = 0; i < count; i++) responses.push(await complete(headers))
    expect(responses.map(({ status }) => status)).toEqual(responses.map(() => 200))
    return new Set(responses.map(response => response.headers['x-sim-replica']!))
  }

  it('filters by what a request says, from the moment that it is there', async () => {
    await rig.configure(documents(pool, picker('- type: header-based-testing-filter\n- type: random-picker\n')))
    // Without the header the filter keeps none.
    const refused = await waitFor('the configuration', async () => {
      const response = await complete()
      return response.status === 429 && response
    })
    expect(JSON.parse(refused.body.toString())).toMatchObject({ error: { code: 'filtered' } })
    for (const simulator of simulators) {
      const header = { 'test-epp-endpoint-selection': addressOf(simulator) }
      expect(await replicasFor(4, header)).toEqual(new Set([simulator.name]))
    }
  })

  it('keeps sessions together, and tells them apart', async () => {
    const sessions = '- { type: session-affinity-scorer, parameters: { strategy: session_id } }'
    await rig.configure(documents(pool, picker(sessions)))
    await waitFor('the configuration', async () => (await complete()).status === 200)
    const used = new Set<string>()
    for (let session = 0; session < 12; session++) {
      const replicas = await replicasFor(5, { 'x-session-id': `session ${session}` })
      expect(replicas.size).toBe(1)
      for (const replica of replicas) used.add(replica)
    }
    // 12 sessions on one of four: once in four million.
    expect(used.size).toBeGreaterThan(1)
  })

  it('a bad one changes nothing', async () => {
    await rig.configure(documents(pool, picker('- type: latency-score')))
    const refused = await waitFor('the refusal', async () => {
      const status = await rig.admin<{ readonly refused: readonly string[] }>('/configuration')
      return status.refused.length > 0 && status.refused
    })
    expect(refused).toEqual([
      expect.stringContaining('there is no plug-in type "latency-score" (did you mean "latency-scorer"?)'),
    ])
    expect((await replicasFor(5, { 'x-session-id': 'session 0' })).size).toBe(1)
  })
})
