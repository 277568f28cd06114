import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals'
import { EXT_PROC_CLUSTER } from '../../src/compile/names.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply, sseReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { startTraffic } from '../support/traffic.ts'
import { waitFor } from '../support/wait-for.ts'

const NAMES = ['a', 'b', 'c'] as const
const body = '{"messages":[{"role":"user","content":"hi"}],"model":"m"}'

interface ConfigurationStatus {
  readonly version: string
  readonly refused: readonly string[]
}

describeOnPlanes('configuration that changes under load', plane => {
  let backends: Record<(typeof NAMES)[number], RecordingBackend>
  let rig: Rig

  const address = (name: (typeof NAMES)[number]) => backends[name].address
  const pool = (name: string, endpoints: readonly (typeof NAMES)[number][], annotations = {}) =>
    poolYaml({ name, addresses: endpoints.map(address), annotations })
  const simple = (...endpoints: readonly (typeof NAMES)[number][]) =>
    documents(GATEWAY, pool('pool', endpoints), routeYaml({ models: { '': 'pool' } }), parametersYaml())
  const post = (path = '/v1/chat/completions') => sendHttp1({ port: rig.port, path, body })
  const servedBy = async (path?: string) => {
    const answer = await post(path)
    return answer.status === 200 ? (JSON.parse(answer.body.toString()) as { backend: string }).backend : answer.status
  }
  /** Resolves when `count` answers in a row all came from `names`. */
  const onlyServedBy = (names: readonly string[], path?: string) =>
    waitFor(`all requests to go to ${names.join(' or ')}`, async () => {
      const seen = new Set<string | number>()
      for (let i = 0; i < 8; i++) seen.add(await servedBy(path))
      const others = [...seen].filter(name => !names.includes(String(name)))
      if (others.length > 0) throw new Error(`also ${others.join(', ')}`)
      return true
    })
  const inForce = async () => rig.admin<ConfigurationStatus>('/configuration')
  /** Sends traffic while `change` runs; not one request may fail. */
  const underLoad = async (change: () => Promise<void>) => {
    const traffic = startTraffic(6, i => ({
      port: rig.port,
      path: '/v1/chat/completions',
      // Some are small, some are still coming when the configuration changes.
      body: i % 3 === 0 ? body : body.replace('hi', 'hi '.repeat(2000)),
      ...(i % 3 === 2 ? { framing: 'chunked', writeBytes: 500, gapMs: 10 } : {}),
    }))
    try {
      await waitFor('traffic', () => traffic.answers.length > 20)
      await change()
      const before = traffic.answers.length
      await waitFor('more traffic', () => traffic.answers.length > before + 20)
    } finally {
      await traffic.stop()
    }
    expect(traffic.failures).toEqual([])
  }

  beforeAll(async () => {
    const start = (name: string) =>
      startRecordingBackend({
        name,
        script: ({ path }) => {
          if (path === '/metrics') return { status: 404 }
          if (path.startsWith('/v1/stream'))
            return sseReply(
              Array.from({ length: 40 }, (_, i) => `event ${i}`),
              100,
            )
          return jsonReply({ backend: name })
        },
      })
    const [a, b, c] = await Promise.all(NAMES.map(start))
    backends = { a: a!, b: b!, c: c! }
    rig = await Rig.start({ plane, config: simple('a') })
  })
  beforeEach(async () => {
    await rig.configure(simple('a'))
    await onlyServedBy(['a'])
  })
  afterAll(async () => {
    await rig.stop()
    await Promise.all(Object.values(backends).map(backend => backend.close()))
  })

  it('endpoints come and go', async () => {
    await underLoad(async () => {
      for (const endpoints of [['a', 'b'], ['b', 'c'], ['c'], ['a'], ['b'], ['a', 'b', 'c'], ['c']] as const) {
        await rig.configure(simple(...endpoints))
        await onlyServedBy(endpoints)
      }
    })
  })

  it('pools, routes and weights change', async () => {
    const weighted = (b: number, c: number) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: route }
spec:
  parentRefs: [{ name: gateway }]
  rules:
    - backendRefs:
        - { group: inference.networking.k8s.io, kind: InferencePool, name: b, weight: ${b} }
        - { group: inference.networking.k8s.io, kind: InferencePool, name: c, weight: ${c} }`
    const pools = () => [GATEWAY, pool('b', ['b']), pool('c', ['c'])]
    await underLoad(async () => {
      // Another pool, and the old one gone.
      await rig.configure(
        documents(GATEWAY, pool('other', ['b']), routeYaml({ models: { '': 'other' } }), parametersYaml()),
      )
      await onlyServedBy(['b'])
      await rig.configure(documents(...pools(), weighted(1, 0), parametersYaml()))
      await onlyServedBy(['b'])
      await rig.configure(documents(...pools(), weighted(0, 1), parametersYaml()))
      await onlyServedBy(['c'])
      await rig.configure(documents(...pools(), weighted(1, 1), parametersYaml()))
      await waitFor('both', async () => (await Promise.all([servedBy(), servedBy(), servedBy()])).includes('b'))
      // Chosen by the model, with another body mode and other settings.
      const byModel = routeYaml({
        models: { m: 'c', other: 'b' },
        annotations: { 'signalbox.dev/body': 'full-duplex' },
      })
      await rig.configure(documents(...pools(), byModel, parametersYaml('{ limits: { prefixBytes: 1024 } }')))
      await onlyServedBy(['c'])
      await rig.configure(
        documents(
          ...pools(),
          byModel,
          routeYaml({ name: 'new', prefix: '/v2', models: { '': 'b' } }),
          parametersYaml(),
        ),
      )
      await onlyServedBy(['b'], '/v2/x')
      // Without a picker.
      const plain = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: route }
spec:
  parentRefs: [{ name: gateway }]
  rules: [{ backendRefs: [{ group: signalbox.dev, kind: SignalboxBackend, name: c }] }]`
      await rig.configure(documents(...pools(), plain, parametersYaml()))
      await onlyServedBy(['c'], '/anything')
      await rig.configure(simple('a'))
      await onlyServedBy(['a'])
    })
  })

  it('a long stream from an endpoint that goes ends in its own time', async () => {
    const events: string[] = []
    const stream = sendHttp1({
      port: rig.port,
      path: '/v1/stream',
      body,
      onData: part => events.push(part.toString()),
    })
    await waitFor('the first event', () => events.length > 0)
    for (const name of ['b', 'c'] as const) {
      await rig.configure(simple(name))
      await onlyServedBy([name])
    }
    const response = await stream
    expect(response.body.toString().match(/event \d+/g)).toHaveLength(40)
  })

  it('a bad file is refused with every error and its place; the last good one stays, and the next one takes force', async () => {
    const { version } = await inForce()
    await underLoad(async () => {
      await rig.configure(
        documents(
          GATEWAY,
          pool('pool', ['b']).replace('number: 8000', 'number: 800000').replace('endpointPickerRef', 'endpointPickRef'),
          routeYaml({ models: { '': 'pool' } }),
          parametersYaml('{ timeouts: { message: soon } }'),
        ),
      )
      const { refused } = await waitFor('the refusal', async () => {
        const status = await inForce()
        return status.refused.length > 0 && status
      })
      expect(refused).toEqual([
        expect.stringMatching(/config\.yaml:\d+:\d+: .*number/),
        expect.stringMatching(/config\.yaml:\d+:\d+: .*endpointPickRef/),
        expect.stringMatching(/config\.yaml:\d+:\d+: .*message/),
      ])
      expect((await inForce()).version).toBe(version)
      await onlyServedBy(['a'])
      // Broken YAML, as an editor's half-written file.
      await rig.configure('spec: [')
      await waitFor('the refusal', async () => (await inForce()).refused[0]?.includes('config.yaml:'))
      await onlyServedBy(['a'])
      await rig.configure(simple('b'))
      await onlyServedBy(['b'])
      expect((await inForce()).refused).toEqual([])
    })
  })

  if (plane !== 'embedded') {
    it('raw Envoy resources come, change and go; one that takes a name of ours is refused', async () => {
      const raw = (name: string, timeout: string) => `
'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster
name: ${name}
type: STATIC
connect_timeout: ${timeout}
typed_extension_protocol_options: {}
metadata: { filter_metadata: { team: { owner: [search, { nested: true }] } } }`
      const dump = async () => rig.envoy!.admin.get('/config_dump?resource=dynamic_active_clusters&name_regex=extra')
      await underLoad(async () => {
        for (const timeout of ['1s', '7s']) {
          await rig.configure(documents(simple('a'), raw('extra', timeout)))
          await waitFor(`a cluster with ${timeout}`, async () =>
            (await dump()).includes(`"connect_timeout": "${timeout}"`),
          )
        }
        await rig.configure(documents(simple('b'), raw(EXT_PROC_CLUSTER, '1s')))
        await waitFor('the refusal', async () => (await inForce()).refused[0]?.includes('generates a resource'))
        await onlyServedBy(['a'])
        await rig.configure(simple('a'))
        await waitFor('the cluster to go', async () => !(await dump()).includes('extra'))
      })
    })
  }

  it('changes that come faster than they can be taken', async () => {
    await underLoad(async () => {
      for (let i = 0; i < 40; i++) {
        await rig.configure(simple(NAMES[i % 3]!))
        await sleep(30 + (i % 4) * 40)
      }
      await rig.configure(simple('b'))
      await onlyServedBy(['b'])
    })
  })
})
