import { describe, expect, it } from '@jest/globals'
import { destination } from './picker-answer.ts'
import { address, HERMETIC, PickerRig, pod } from './picker-rig.ts'

const OK = { ':status': '200', 'content-type': 'application/json' }
const REQUEST = '{"model":"m","prompt":"x"}'
const tokenOf = (endpoint: string) => Buffer.from(`default/${endpoint}`).toString('base64')

/** A request and its response: where it went, and what its client was told. */
function exchange(rig: PickerRig, headers: Readonly<Record<string, string>> = {}) {
  const session = rig.open({ headers, body: REQUEST })
  const { set } = session.respond(OK, ['{}'])
  return { endpoint: String(destination(session.answer)), set }
}

describe('H23: sessions by a token of the response (epp.md §8.1)', () => {
  it.each([
    ['session-affinity-filter', `${HERMETIC}- type: session-affinity-filter\n`],
    ['session-affinity-scorer', HERMETIC.replace('- type: prefix', '- type: session-affinity-scorer\n- type: prefix')],
  ])('%s', (_, config) => {
    const rig = new PickerRig([pod(0, 0), pod(0, 0), pod(0, 0)], config)
    for (let i = 0; i < 3; i++) {
      const first = exchange(rig)
      const token = first.set['x-session-token']!
      expect(token).toBe(tokenOf(first.endpoint))
      const again = exchange(rig, { 'x-session-token': token })
      expect(again.endpoint).toBe(first.endpoint)
      expect(again.set['x-session-token']).toBe(token)
    }
    // Who names an endpoint that is not there, or nothing at all, is placed as anybody.
    for (const token of [tokenOf('10.9.9.9:8000'), 'nonsense', '']) {
      const { endpoint, set } = exchange(rig, { 'x-session-token': token })
      expect(set['x-session-token']).toBe(tokenOf(endpoint))
    }
  })

  it('the filter holds to a loaded endpoint, the scorer weighs it', () => {
    const pods = [pod(0, 0), pod(50, 0.9)]
    const token = { 'x-session-token': tokenOf(address(1)) }
    expect(exchange(new PickerRig(pods, `${HERMETIC}- type: session-affinity-filter\n`), token).endpoint).toBe(
      address(1),
    )
    const scorer = HERMETIC.replace('- type: queue', '- type: session-affinity-scorer\n- type: queue')
    expect(exchange(new PickerRig(pods, scorer), token).endpoint).toBe(address(0))
  })

  it('names the endpoint that the gateway says has served', () => {
    const rig = new PickerRig([pod(0, 0), pod(9, 0.9)], `${HERMETIC}- type: session-affinity-filter\n`)
    const session = rig.open({ body: REQUEST })
    const served = { 'envoy.lb': { 'x-gateway-destination-endpoint-served': address(1) } }
    const { set } = session.respond(OK, ['{}'], { metadata: served })
    expect([destination(session.answer), set['x-session-token']]).toEqual([address(0), tokenOf(address(1))])
  })

  it('is not there where no profile keeps sessions, nor with session_id', () => {
    expect(exchange(new PickerRig([pod(0, 0)])).set).not.toHaveProperty('x-session-token')
    const remembered = `${HERMETIC}- { type: session-affinity-filter, parameters: { strategy: session_id } }\n`
    expect(exchange(new PickerRig([pod(0, 0)], remembered)).set).not.toHaveProperty('x-session-token')
  })
})

it('session_id: the session that an agent names keeps its endpoint', () => {
  const affinity = `- type: agent-identity
- type: session-affinity-filter
  parameters: { strategy: session_id, sources: [{ header: x-session-id }, { attribute: agent-identity }] }
`
  const rig = new PickerRig([pod(0, 0), pod(0, 0)], HERMETIC + affinity)
  const agent = { 'x-claude-code-session-id': 'a1' }
  const own = { 'x-session-id': 's1', ...agent }
  const [first, second] = [exchange(rig, agent).endpoint, exchange(rig, own).endpoint]
  // Whatever the load says now.
  const loaded = (endpoint: string) => [0, 1].map(i => (address(i) === endpoint ? pod(50, 0.9) : pod(0, 0)))
  rig.scrape(loaded(first))
  expect(exchange(rig, agent).endpoint).toBe(first)
  expect(exchange(rig, { 'x-claude-code-session-id': 'a2' }).endpoint).not.toBe(first)
  rig.scrape(loaded(second))
  expect(exchange(rig, own).endpoint).toBe(second)
})

describe('H24: a token for each stage (epp.md §8.1)', () => {
  const config = (deciders: string) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: always-disagg-pd-decider
- { type: disagg-profile-handler, parameters: { ${deciders} } }
- type: prefill-filter
- type: decode-filter
- type: queue-scorer
- { type: session-affinity-filter, name: of-decode }
- type: session-affinity-filter
  name: of-prefill
  parameters: { profileName: prefill, encodedEndpointHeaderConfig: { header: x-session-token-prefill } }
schedulingProfiles:
- name: prefill
  plugins: [{ pluginRef: prefill-filter }, { pluginRef: queue-scorer }, { pluginRef: of-prefill }]
- name: decode
  plugins: [{ pluginRef: decode-filter }, { pluginRef: queue-scorer }, { pluginRef: of-decode }]
`
  const PREFILLERS = `
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: prefill, labels: { app: x, llm-d.ai/role: prefill } }
spec: { endpoints: [{ address: 192.168.2.1, port: 8000 }, { address: 192.168.2.2, port: 8000 }] }
`

  it('decode and prefill replicas stay, each by its own', () => {
    const rig = new PickerRig(
      [pod(0, 0), pod(0, 0)],
      config('deciders: { prefill: always-disagg-pd-decider }'),
      PREFILLERS,
    )
    const first = exchange(rig)
    const prefill = Buffer.from(first.set['x-session-token-prefill']!, 'base64').toString()
    expect(first.set['x-session-token']).toBe(tokenOf(first.endpoint))
    expect(prefill).toMatch(/^default\/192\.168\.2\.[12]:8000$/)
    const tokens = Object.fromEntries(Object.entries(first.set).filter(([name]) => name.startsWith('x-session')))
    for (let i = 0; i < 4; i++) {
      const { endpoint, set } = exchange(rig, tokens)
      expect(endpoint).toBe(first.endpoint)
      expect(set).toMatchObject(tokens)
    }
  })

  it('a stage that does not run has none', () => {
    const rig = new PickerRig([pod(0, 0)], config(''), PREFILLERS)
    const { set } = exchange(rig)
    expect(set).toHaveProperty('x-session-token')
    expect(set).not.toHaveProperty('x-session-token-prefill')
  })
})
