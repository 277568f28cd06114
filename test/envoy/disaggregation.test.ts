import { afterAll, beforeAll, expect, it, jest } from '@jest/globals'
import { type ModelServer, modelsAreListed, startModelServer } from '../support/model-server.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { type ClientResponse, sendHttp1 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, routeYaml } from '../support/pool-config.ts'
import type { RecordedRequest } from '../support/recorded-request.ts'
import { Rig } from '../support/rig.ts'
import { endpointsOf } from '../support/simulators.ts'
import { waitFor } from '../support/wait-for.ts'

jest.setTimeout(60_000)

const PREFILL = 'x-prefiller-host-port'
const ENCODE = 'x-encoder-hosts-ports'
const RANK = 'x-data-parallel-host-port'
/** What a client may not say in the place of an endpoint picker. */
const FORGED = {
  [PREFILL]: '10.9.9.9:1',
  [ENCODE]: '10.9.9.9:2,10.9.9.9:3',
  [RANK]: '10.9.9.9:4',
  'x-kv-cache-source-host-port': '10.9.9.9:5',
}
const ROLES = ['decode', 'prefill', 'prefill', 'encode'] as const

const POOL = `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: pool }
spec:
  selector: { matchLabels: { pool: pool } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: signalbox, port: { number: 9002 } }
`
const PICKER = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: disagg-profile-handler
  parameters: { deciders: { prefill: prefix-based-pd-decider, encode: always-disagg-multimodal-decider } }
- { type: prefix-based-pd-decider, parameters: { nonCachedTokens: 256 } }
- type: always-disagg-multimodal-decider
- type: encode-filter
- type: prefill-filter
- type: decode-filter
- type: prefix-cache-scorer
- type: queue-scorer
schedulingProfiles:
- name: decode
  plugins: [{ pluginRef: decode-filter }, { pluginRef: queue-scorer }]
- name: prefill
  plugins: [{ pluginRef: prefill-filter }, { pluginRef: prefix-cache-scorer }, { pluginRef: queue-scorer }]
- name: encode
  plugins: [{ pluginRef: encode-filter }, { pluginRef: queue-scorer }]
`

describeOnPlanes('prefill, decode and encode on replicas of their own', plane => {
  let servers: ModelServer[]
  let rig: Rig

  beforeAll(async () => {
    servers = await Promise.all(ROLES.map((role, i) => startModelServer({ name: `${role} ${i}`, models: ['llama'] })))
    const backends = servers.map(({ address }, i) => {
      const [host, port] = address.split(':')
      return `    - { address: ${host}, port: ${port}, labels: { llm-d.ai/role: ${ROLES[i]} } }`
    })
    const replicas = `apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: pool, labels: { pool: pool } }
spec:
  endpoints:
${backends.join('\n')}
`
    const config = documents(GATEWAY, POOL, replicas, PICKER, routeYaml({ models: { '': 'pool' } }), parametersYaml())
    rig = await Rig.start({ plane, config })
    await modelsAreListed(rig, servers)
    await rig.decides('/v1/completions')
  })
  afterAll(async () => {
    await rig?.stop()
    await Promise.all((servers ?? []).map(server => server.close()))
  })

  /** Sends a request with everything forged; how the replica that decodes saw it. */
  async function served(path: string, body: object): Promise<RecordedRequest> {
    for (const server of servers) server.forget()
    const response: ClientResponse = await sendHttp1({
      port: rig.port,
      path,
      headers: { 'content-type': 'application/json', ...FORGED },
      body: JSON.stringify(body),
    })
    expect(response.status).toBe(200)
    expect(servers.map(server => server.served.length)).toEqual([1, 0, 0, 0])
    return servers[0]!.served[0]!
  }
  const told = ({ headers }: RecordedRequest) =>
    Object.fromEntries(Object.keys(FORGED).map(name => [name, headers[name]]))
  const addresses = (role: string) => servers.filter((_, i) => ROLES[i] === role).map(({ address }) => address)
  const prompt = (words: number, seed: string) => ({ model: 'llama', prompt: `${seed} `.repeat(words) })

  it('a short prompt stays with its replica, and nothing that a client forged arrives', async () => {
    expect(told(await served('/v1/completions', prompt(10, 'a')))).toEqual({})
  })

  it('of a long one the replica is told who prefills; once it has it cached it is not', async () => {
    const long = prompt(2000, 'bcdefgh')
    const first = told(await served('/v1/completions', long))
    expect(first).toEqual({ [PREFILL]: expect.any(String) })
    expect(addresses('prefill')).toContain(first[PREFILL])
    expect(told(await served('/v1/completions', long))).toEqual({})
    // Nine tenths are new: the replica that prefilled the beginning has an advantage.
    const next = { ...long, prompt: `${long.prompt}${'something else '.repeat(400)}` }
    expect(told(await served('/v1/completions', next))).toEqual(first)
  })

  it('images are encoded elsewhere', async () => {
    const chat = (content: unknown) => ({ model: 'llama', messages: [{ role: 'user', content }] })
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
    expect(told(await served('/v1/chat/completions', chat([{ type: 'text', text: 'What is it?' }, image])))).toEqual({
      [ENCODE]: addresses('encode')[0],
    })
    expect(told(await served('/v1/chat/completions', chat('{"type":"image_url"}')))).toEqual({})
  })

  it('counts of all replicas that took part fall again', async () => {
    await waitFor('the counts to fall', async () => {
      const endpoints = await endpointsOf(rig, 'default/pool')
      return endpoints.length === ROLES.length && endpoints.every(({ inFlight }) => inFlight === 0)
    })
  })
})
