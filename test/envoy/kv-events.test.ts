import { afterAll, beforeAll, expect, it, jest } from '@jest/globals'
import type { Simulator } from '../../src/sim/simulator.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { type ClientResponse, sendHttp1 } from '../support/http-client.ts'
import { modelsAreListed } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { addressOf, startSimulators } from '../support/simulators.ts'
import { waitFor } from '../support/wait-for.ts'

jest.setTimeout(120_000)

/** Text of so many tokens, nothing of which begins as another number's does. */
const words = (tokens: number, which: string) => Array.from({ length: tokens }, (_, i) => `${which}${i % 10}`).join(' ')
const chat = (content: string) => ({ model: 'llama', messages: [{ role: 'user', content }], max_tokens: 1 })

const picker = (renderer: Simulator) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
  - type: token-producer
    parameters: { modelName: llama, vllm: { url: "${renderer.url}" } }
  - type: precise-prefix-cache-producer
  - type: prefix-cache-scorer
    parameters: { prefixMatchInfoProducerName: precise-prefix-cache-producer }
`

function backendYaml(simulators: readonly Simulator[]): string {
  const endpoints = simulators.map(
    ({ host, port, kvEventsPort, kvReplayPort }) =>
      `    - { address: "${host}", port: ${port}, labels: { "signalbox.dev/kv-events-port": "${kvEventsPort}", "signalbox.dev/kv-replay-port": "${kvReplayPort}" } }`,
  )
  return `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: pool }
spec:
  selector: { matchLabels: { pool: pool } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: signalbox, port: { number: 9002 } }
---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: pool, labels: { pool: pool } }
spec:
  endpoints:
${endpoints.join('\n')}
`
}

describeOnPlanes('KV cache events', plane => {
  let simulators: Simulator[]
  let renderer: Simulator
  let rig: Rig

  beforeAll(async () => {
    const options = { models: ['llama'], kvEventsPort: 0, numGpuBlocks: 64, blockSize: 16 }
    simulators = await startSimulators(['a', 'b', 'c'], options)
    renderer = (await startSimulators(['renderer'], { models: ['llama'] }))[0]!
    // Before anybody listens: what only a replay can tell.
    await direct('b', '/v1/chat/completions', chat(words(200, 'early')))
    const config = documents(
      GATEWAY,
      backendYaml(simulators),
      routeYaml({ models: { '': 'pool' } }),
      parametersYaml(),
      picker(renderer),
    )
    rig = await Rig.start({ plane, config })
    await modelsAreListed(
      rig,
      simulators.map(simulator => ({ address: addressOf(simulator) })),
    )
    await rig.decides('/v1/completions')
    await waitFor('connections', async () => (await figure('signalbox_kv_events_endpoints_connected')) === 3)
  })
  afterAll(async () => {
    await rig?.stop()
    await Promise.all([...(simulators ?? []), ...(renderer === undefined ? [] : [renderer])].map(each => each.close()))
  })

  const figure = async (name: string) => (await rig.metrics()).get(`${name}{pool="default/pool"}`) ?? 0
  const post = (port: number, path: string, body: unknown): Promise<ClientResponse> =>
    sendHttp1({ port, path, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const direct = async (name: string, path: string, body: unknown): Promise<void> => {
    const { port } = simulators.find(simulator => simulator.name === name)!
    expect((await post(port, path, body)).status).toBe(200)
  }
  const replicaOf = async (path: string, body: unknown): Promise<string> => {
    const response = await post(rig.port, path, body)
    expect(response.status).toBe(200)
    return response.headers['x-sim-replica']!
  }
  /** All go to the one replica, once its events have arrived. */
  const settlesAt = async (replica: string, path: string, body: unknown): Promise<void> => {
    await waitFor(`${replica} to be picked`, async () => (await replicaOf(path, body)) === replica)
    const next: string[] = []
    for (let i = 0; i < 6; i++) next.push(await replicaOf(path, body))
    expect(next).toEqual(next.map(() => replica))
  }

  it('what engines told before we came is asked for again', async () => {
    await waitFor('a replay', async () => (await figure('signalbox_kv_events_index_keys')) > 0)
    await settlesAt('b', '/v1/chat/completions', chat(`${words(200, 'early')} and more`))
  })

  it('goes where the blocks are, not where requests were sent', async () => {
    const prompt = chat(words(300, 'first'))
    const first = await replicaOf('/v1/chat/completions', prompt)
    await settlesAt(first, '/v1/chat/completions', prompt)
    // Others fill its cache up, past us, and somebody else gets the prompt.
    const second = simulators.find(({ name }) => name !== first)!.name
    for (const which of ['x', 'y', 'z']) await direct(first, '/v1/chat/completions', chat(words(700, which)))
    await direct(second, '/v1/chat/completions', prompt)
    await settlesAt(second, '/v1/chat/completions', prompt)
    expect(await figure('signalbox_kv_events_blocks_removed_total')).toBeGreaterThan(0)
  })

  it('prompts that are token ids need no renderer; salts are told apart', async () => {
    const ids = Array.from({ length: 320 }, (_, i) => 1_000_000 + i)
    renderer.setFaults({ hang: true })
    const tokens = { model: 'llama', prompt: ids, max_tokens: 1 }
    await direct('c', '/v1/completions', tokens)
    await settlesAt('c', '/v1/completions', tokens)
    await direct('a', '/v1/completions', { ...tokens, cache_salt: 'mine' })
    await settlesAt('a', '/v1/completions', { ...tokens, cache_salt: 'mine' })
    await settlesAt('c', '/v1/completions', tokens)
    renderer.clearFaults()
  })

  it('a renderer that hangs, fails or answers nonsense costs no request', async () => {
    const prompt = chat(words(100, 'late'))
    for (const faults of [{ hang: true }, { refuseConnections: true, durationMs: 60_000 }]) {
      renderer.setFaults(faults)
      const replica = await replicaOf('/v1/chat/completions', prompt)
      // Then it goes by what was sent where.
      expect(await replicaOf('/v1/chat/completions', prompt)).toBe(replica)
      renderer.clearFaults()
    }
    const response = await post(rig.port, '/v1/completions', { model: 'llama', prompt: ['one', 'two'], max_tokens: 1 })
    expect(response.status).toBe(400)
  })
})
