import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { Simulator } from '../../src/sim/simulator.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { AbortedByTest, type ClientResponse, sendHttp1, sendHttp2 } from '../support/http-client.ts'
import { modelsAreListed } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { addressOf, endpointsOf, type Occupation, occupy, scraped, startSimulators } from '../support/simulators.ts'
import { waitFor } from '../support/wait-for.ts'

/** The pool of four replicas, as the admin port calls it. */
const CHAT = 'default/chat'
const ADAPTERS = ['sql', 'poem', 'law']

/** Seven servers and their clients share this process: on a starved machine hundreds of requests take long. */
jest.setTimeout(120_000)

let texts = 0
/** A text of about `words` words that no other one begins like. */
function text(words: number): string {
  texts++
  return `${texts} ${Array.from({ length: words }, (_, i) => `word${(i * 7919 + texts * 104_729) % 9973}`).join(' ')}`
}

/** A rule without conditions that splits its requests. */
const SPLIT = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: split }
spec:
  parentRefs: [{ name: gateway }]
  rules:
    - matches: [{ path: { value: /split } }]
      filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /v1 } } }]
      backendRefs:
        - { group: inference.networking.k8s.io, kind: InferencePool, name: chat, weight: 3 }
        - { group: inference.networking.k8s.io, kind: InferencePool, name: other, weight: 1 }
        - { group: inference.networking.k8s.io, kind: InferencePool, name: never, weight: 0 }
`

describeOnPlanes('placement', plane => {
  let chat: Simulator[]
  let other: Simulator[]
  let rig: Rig
  const occupations: Occupation[] = []

  beforeAll(async () => {
    chat = await startSimulators(['a', 'b', 'c', 'd'], {
      models: ['llama', 'shared'],
      loras: ADAPTERS,
      maxLoras: 1,
      maxNumSeqs: 8,
      recordedRequests: 10_000,
    })
    other = await startSimulators(['e'], { models: ['mistral', 'shared'] })
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml({ name: 'chat', addresses: chat.map(addressOf) }),
        poolYaml({ name: 'other', addresses: other.map(addressOf) }),
        poolYaml({ name: 'never', addresses: other.map(addressOf) }),
        routeYaml({ models: { mistral: 'other', '': 'chat' } }),
        SPLIT,
        parametersYaml(),
      ),
    })
    await modelsAreListed(
      rig,
      [...chat, ...other].map(simulator => ({ address: addressOf(simulator) })),
    )
  })
  beforeEach(() => rig.decides('/v1/completions'))
  afterEach(async () => {
    await Promise.all(occupations.splice(0).map(occupation => occupation.end()))
  })
  afterAll(async () => {
    await rig?.stop()
    await Promise.all([...(chat ?? []), ...(other ?? [])].map(simulator => simulator.close()))
  })

  const complete = (
    prompt: string,
    { model = 'llama', tokens = 2, path = '/v1/completions', port = rig.port } = {},
  ): Promise<ClientResponse> =>
    sendHttp1({
      port,
      path,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt, max_tokens: tokens, ignore_eos: true }),
    })
  /** Completes and names the replica. */
  const replicaFor = async (...args: Parameters<typeof complete>): Promise<string> => {
    const response = await complete(...args)
    expect([response.status, response.status === 200 ? '' : response.body.toString()]).toEqual([200, ''])
    return response.headers['x-sim-replica']!
  }
  const busy = async (simulator: Simulator, model: string, count = 1) => {
    occupations.push(await occupy(simulator, model, count))
  }
  const nothingRuns = () =>
    waitFor(
      'all replicas to be idle',
      async () => {
        const endpoints = await scraped(rig, CHAT)
        return endpoints.every(({ running, waiting, inFlight }) => running + waiting + inFlight === 0)
      },
      { timeoutMs: 60_000 },
    )

  it('requests with the same long beginning go to the same replica', async () => {
    const used = new Set<string>()
    for (let conversation = 0; conversation < 4; conversation++) {
      const beginning = text(1000)
      const replicas: string[] = []
      for (let turn = 0; turn < 4; turn++) {
        replicas.push(await replicaFor(`${beginning} ${text(20)}`))
        await scraped(rig, CHAT)
      }
      expect(new Set(replicas).size).toBe(1)
      used.add(replicas[0]!)
    }
  })

  it('a conversation that grows stays where it is, whichever API it uses', async () => {
    const messages = [{ role: 'user', content: text(800) }]
    const replicas: string[] = []
    for (let turn = 0; turn < 4; turn++) {
      const body = JSON.stringify({ messages, max_tokens: 2, model: 'llama' })
      const response = await sendHttp2({ port: rig.port, path: '/v1/chat/completions', body })
      expect(response.status).toBe(200)
      replicas.push(response.headers['x-sim-replica']!)
      messages.push({ role: 'assistant', content: text(100) }, { role: 'user', content: text(100) })
      await scraped(rig, CHAT)
    }
    expect(new Set(replicas).size).toBe(1)
  })

  it('a beginning that is asked for more than one replica has room for spreads', async () => {
    await nothingRuns()
    const beginning = text(1000)
    const total = 48
    const requests = Array.from({ length: total }, () => replicaFor(`${beginning} ${text(20)}`, { tokens: 300 }))
    const counts = countOf(await Promise.all(requests))
    expect(Object.keys(counts).length).toBeGreaterThanOrEqual(3)
    // These replicas prefill a hundred times as fast as is taken for granted before they were seen at it: so no even share.
    expect(Math.max(...Object.values(counts))).toBeLessThanOrEqual((2 * total) / 3)
  })

  it('a replica that queues loses new traffic with the next scrape', async () => {
    await nothingRuns()
    const beginning = text(1000)
    const name = await replicaFor(beginning)
    const replica = chat.find(simulator => simulator.name === name)!
    // On a slow machine a scrape may show the first request as running: then the second one rightly weighs load against its prefix.
    await nothingRuns()
    expect(await replicaFor(`${beginning} again`)).toBe(name)
    // A queue that costs more than the prompt's prefill would elsewhere.
    await busy(replica, 'llama', 40)
    expect(replica.load().waiting).toBeGreaterThan(0)
    // One scrape that began after the queue did: it must be enough.
    const endpoints = await scraped(rig, CHAT)
    expect(endpoints.find(({ address }) => address === addressOf(replica))!.waiting).toBeGreaterThan(0)
    const replicas = await Promise.all(Array.from({ length: 9 }, (_, i) => replicaFor(`${beginning} ${i}`)))
    expect(replicas).not.toContain(name)
  })

  it('a burst within one scrape interval spreads evenly', async () => {
    const slow = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        poolYaml({ name: 'chat', addresses: chat.map(addressOf) }),
        routeYaml({ models: { '': 'chat' } }),
        parametersYaml('{ scrape: { interval: 1m, stale: 5m } }'),
      ),
    })
    try {
      await modelsAreListed(
        slow,
        chat.map(simulator => ({ address: addressOf(simulator) })),
      )
      const requests = Array.from({ length: 16 }, () => replicaFor(text(50), { tokens: 400, port: slow.port }))
      expect(countOf(await Promise.all(requests))).toEqual({ a: 4, b: 4, c: 4, d: 4 })
    } finally {
      await slow.stop()
    }
  })

  it('an adapter is asked for where it is loaded', async () => {
    await nothingRuns()
    for (const [i, model] of [...ADAPTERS, 'llama'].entries()) await busy(chat[i]!, model)
    for (const [i, adapter] of [...ADAPTERS, ...ADAPTERS].entries()) {
      await waitFor('the next scrape', async () => (await scraped(rig, CHAT)).every(({ running }) => running === 1))
      expect(await replicaFor(text(30), { model: adapter })).toBe(['a', 'b', 'c'][i % 3])
    }
  })

  it('weights of backendRefs split the traffic', async () => {
    const total = 240
    const replicas: string[] = []
    for (let i = 0; i < total; i += 12) {
      const batch = Array.from({ length: 12 }, () =>
        replicaFor('short', { model: 'shared', path: '/split/completions' }),
      )
      replicas.push(...(await Promise.all(batch)))
    }
    const toOther = replicas.filter(name => name === 'e').length
    // A quarter; six standard deviations of 240 tosses are 40.
    expect(Math.abs(toOther - total / 4)).toBeLessThan(40)
  })

  it('GET /v1/models lists what the pools have together', async () => {
    for (const send of [sendHttp1, sendHttp2]) {
      const response = await send({ port: rig.port, path: '/v1/models?limit=9' })
      expect([response.status, response.headers['content-type']]).toEqual([200, 'application/json'])
      const model = (id: string, parent?: string) => ({
        id,
        object: 'model',
        created: 0,
        owned_by: 'signalbox',
        ...(parent === undefined ? {} : { parent }),
      })
      expect(JSON.parse(response.body.toString())).toEqual({
        object: 'list',
        data: [
          model('law', 'llama'),
          model('llama'),
          model('mistral'),
          model('poem', 'llama'),
          model('shared'),
          model('sql', 'llama'),
        ],
      })
    }
  })

  it('an adapter that is loaded at run time is found without a restart', async () => {
    const load = { lora_name: 'fresh', lora_path: '/adapters/fresh' }
    const loaded = await sendHttp1({ port: chat[1]!.port, path: '/v1/load_lora_adapter', body: JSON.stringify(load) })
    expect(loaded.status).toBe(200)
    // The first request for an unknown model makes Signalbox look again.
    const response = await waitFor('the new adapter', async () => {
      const answer = await complete('x', { model: 'fresh' })
      return answer.status === 200 && answer
    })
    expect(response.headers['x-sim-replica']).toBe('b')
    const unload = JSON.stringify({ lora_name: 'fresh' })
    expect((await sendHttp1({ port: chat[1]!.port, path: '/v1/unload_lora_adapter', body: unload })).status).toBe(200)
  })

  describe('a replica that dies', () => {
    let victim: Simulator
    const stateOf = async () =>
      (await endpointsOf(rig, CHAT)).find(({ address }) => address === addressOf(victim))!.state

    it('costs no failed request', async () => {
      let started = 0
      let killed = false
      const statuses: number[] = []
      const loop = async () => {
        while (started++ < 240) {
          const response = await complete(text(30), { tokens: 8 })
          statuses.push(response.status)
          if (killed || statuses.length < 60) continue
          const working = chat.find(simulator => simulator.load().running > 0)
          if (working === undefined) continue
          killed = true
          victim = working
          victim.setFaults({ refuseConnections: true })
        }
      }
      await Promise.all(Array.from({ length: 8 }, loop))
      expect(countOf(statuses)).toEqual({ 200: 240 })
      // Or it died while it had nothing to do, and nothing was tried.
      expect(victim.requests().filter(({ outcome }) => outcome === 'cut').length).toBeGreaterThan(0)
      await waitFor('the death to be noticed', async () => (await stateOf()) === 'unreachable')
    })

    it('is not asked while it is away', async () => {
      const replicas = await Promise.all(Array.from({ length: 12 }, () => replicaFor(text(30))))
      expect(Object.keys(countOf(replicas))).toHaveLength(3)
      expect(replicas).not.toContain(victim.name)
    })

    it('is used again when it comes back', async () => {
      victim.clearFaults()
      await waitFor('its return', async () => (await stateOf()) === 'ready')
      const replicas = await Promise.all(Array.from({ length: 16 }, () => replicaFor(text(30), { tokens: 200 })))
      expect(replicas).toContain(victim.name)
    })
  })

  it('in-flight counts return to zero, whatever became of the requests', async () => {
    const outcomes: string[] = []
    const one = async (i: number) => {
      const send = i % 2 === 0 ? sendHttp1 : sendHttp2
      const options = { port: rig.port, path: '/v1/completions', headers: { 'content-type': 'application/json' } }
      const body = (tokens: number) =>
        JSON.stringify({ model: 'llama', prompt: text(10), max_tokens: tokens, ignore_eos: true, stream: i % 3 === 0 })
      if (i % 5 === 1) {
        // Goes away in the middle of the upload, when the decision may have been made, or just before.
        const sent = send({ ...options, body: body(4).padEnd(200_000), writeBytes: 50_000, abortAfterBytes: 100_000 })
        await sent.catch((error: unknown) => outcomes.push(error instanceof AbortedByTest ? 'aborted' : String(error)))
      } else if (i % 5 === 2) {
        // Goes away in the middle of the answer.
        const sent = send({ ...options, body: body(8000), timeoutMs: 60 })
        await sent.catch(() => outcomes.push('aborted'))
      } else {
        outcomes.push(String((await send({ ...options, body: body(4) })).status))
      }
    }
    let next = 0
    const loop = async () => {
      while (next < 300) await one(next++)
    }
    await Promise.all(Array.from({ length: 12 }, loop))
    expect(countOf(outcomes)).toEqual({ 200: 180, aborted: 120 })
    const idle = async () => {
      const endpoints = [...(await endpointsOf(rig, CHAT)), ...(await endpointsOf(rig, 'default/other'))]
      return endpoints.every(({ inFlight }) => inFlight === 0)
    }
    await waitFor('all counts to be zero', idle, { timeoutMs: 60_000 })
  })
})

function countOf(values: readonly (string | number)[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1
  return counts
}
