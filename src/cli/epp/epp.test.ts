import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { once } from 'node:events'
import { rename, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PickerClient } from '../../../test/support/picker-client.ts'
import { makeTempFolder, type TempFolder } from '../../../test/support/temp-folder.ts'
import { waitFor } from '../../../test/support/wait-for.ts'
import { collectionPath, PODS, RESOURCES } from '../../kubernetes/resources.ts'
import { FakeApiServer, rawPod, rawPool } from '../../kubernetes/testing.ts'
import { createLog } from '../../telemetry/log.ts'
import { Signalbox } from '../serve/signalbox.ts'
import { parseEppOptions } from './epp-options.ts'

const POD_PATH = collectionPath(PODS, undefined)
const POOLS = collectionPath(RESOURCES[0]!, undefined)
const SUBSET = (...entries: string[]) => ({
  'envoy.lb.subset_hint': { 'x-gateway-destination-endpoint-subset': entries.join(',') },
})

/** Somebody who listens on all addresses of the loopback: what refuses connections is no endpoint for long. */
let replicas: Server
let port: number
beforeAll(async () => {
  replicas = createServer((_request, response) => void response.writeHead(404).end())
  await once(replicas.listen(0, '0.0.0.0'), 'listening')
  port = (replicas.address() as AddressInfo).port
})
afterAll(async () => {
  const closed = once(replicas, 'close')
  replicas.close()
  replicas.closeAllConnections()
  await closed
})
const at = (ip: string) => `${ip}:${port}`

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function apiServer(): Promise<{ server: FakeApiServer; kubeconfig: string }> {
  const server = new FakeApiServer(POD_PATH, ...RESOURCES.map(resource => collectionPath(resource, undefined)))
  await server.start()
  cleanups.push(() => server.stop())
  const folder: TempFolder = await makeTempFolder()
  cleanups.push(() => folder.remove())
  const kubeconfig = join(folder.path, 'kubeconfig')
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 't', cluster: { server: server.access.server } }],
    users: [{ name: 't', user: { token: 'secret' } }],
    contexts: [{ name: 't', context: { cluster: 't', user: 't' } }],
    'current-context': 't',
  }
  await writeFile(kubeconfig, JSON.stringify(config))
  return { server, kubeconfig }
}

async function epp(kubeconfig: string, ...flags: readonly string[]): Promise<Signalbox> {
  const ports = ['--grpc-port=0', '--grpc-health-port=0', '--metrics-port=0', '--drain-timeout=0', '--threads=1']
  const { serve } = parseEppOptions(['--kubeconfig', kubeconfig, ...ports, ...flags], { POD_NAME: 'me' }, '127.0.0.1')
  const signalbox = new Signalbox(serve, createLog('silent'))
  cleanups.push(() => signalbox.stop())
  await signalbox.start()
  return signalbox
}

function client(address: string, options?: { readonly tls?: boolean; readonly authority?: string }): PickerClient {
  const made = new PickerClient(address, options)
  cleanups.push(() => made.close())
  return made
}

const isReady = (health: PickerClient) =>
  waitFor('readiness', async () => (await health.health('readiness')) === 'SERVING', { timeoutMs: 20_000 })

describe('signalbox epp', () => {
  it('is ready once the pool is there and its pods were listed, and picks over TLS', async () => {
    const { server, kubeconfig } = await apiServer()
    const signalbox = await epp(kubeconfig, '--pool-name=llm')
    const health = client(signalbox.healthAddress)
    expect(await health.health('liveness')).toBe('SERVING')
    for (const name of ['', 'readiness', 'inference-extension', 'envoy.service.ext_proc.v3.ExternalProcessor'])
      expect(await health.health(name)).toBe('NOT_SERVING')
    await waitFor('a configuration without the pool', async () =>
      (await (await fetch(`http://${signalbox.adminAddress}/readyz`)).text()).includes('no InferencePool default/llm'),
    )
    // Nothing to decide by: Envoy's failure mode takes over.
    const gateway = client(signalbox.extProcAddress, { tls: true })
    expect(await gateway.pick()).toEqual({ failure: 'no plan for this stream' })

    server.refusals.set(POD_PATH, 500)
    server.put(POOLS, rawPool('llm', { app: 'vllm' }, [port]))
    server.put(POD_PATH, rawPod('a', '127.0.0.2', { app: 'vllm' }))
    await waitFor('a list of pods that fails', () =>
      server.requests.some(({ url }) => url.includes('/pods') && url.includes('labelSelector')),
    )
    expect(await health.health('readiness')).toBe('NOT_SERVING')
    server.refusals.clear()
    await isReady(health)
    expect(await health.health('envoy.service.ext_proc.v3.ExternalProcessor')).toBe('SERVING')
    expect(await client(signalbox.extProcAddress, { tls: true }).health('readiness')).toBe('SERVING')
    expect(await gateway.pick()).toEqual({ endpoints: at('127.0.0.2') })

    server.remove(POOLS, 'llm')
    await waitFor('that it is not ready', async () => (await health.health('readiness')) === 'NOT_SERVING')
    expect(await health.health('liveness')).toBe('SERVING')
  }, 60_000)

  it('has a GET without a body obey the subset and the plug-ins, unless told otherwise', async () => {
    const { server, kubeconfig } = await apiServer()
    server.put(POOLS, rawPool('llm', { app: 'vllm' }, [port]))
    server.put(POD_PATH, rawPod('a', '127.0.0.2', { app: 'vllm', tier: 'x' }))
    server.put(POD_PATH, rawPod('b', '127.0.0.3', { app: 'vllm', tier: 'y' }))
    const config = JSON.stringify({
      apiVersion: 'llm-d.ai/v1alpha1',
      kind: 'EndpointPickerConfig',
      plugins: [
        { type: 'label-selector-filter', parameters: { matchLabels: { tier: 'y' } } },
        { type: 'max-score-picker' },
      ],
    })
    const obeys = await epp(kubeconfig, '--pool-name=llm', '--secure-serving=false')
    await isReady(client(obeys.healthAddress))
    const gateway = client(obeys.extProcAddress)
    for (const endpoint of [at('127.0.0.2'), at('127.0.0.3')])
      expect(await gateway.pick({ metadata: SUBSET(endpoint) })).toEqual({ endpoints: endpoint })
    expect(await gateway.pick({ metadata: SUBSET('127.0.0.9') })).toMatchObject({ status: 503 })

    const ignores = await epp(
      kubeconfig,
      '--pool-name=llm',
      '--secure-serving=false',
      '--disable-endpoint-subset-filter',
      `--config-text=${config}`,
    )
    await isReady(client(ignores.healthAddress))
    const picked = await client(ignores.extProcAddress).pick({ metadata: SUBSET(at('127.0.0.2')) })
    expect(picked).toEqual({ endpoints: at('127.0.0.3') })
  }, 60_000)

  it('refuses a configuration that it cannot use, at once', async () => {
    const { kubeconfig } = await apiServer()
    const config = JSON.stringify({
      apiVersion: 'llm-d.ai/v1alpha1',
      kind: 'EndpointPickerConfig',
      plugins: [{ type: 'utilization-filter', parameters: { conditions: [{ metric: 'waiting-queue', maxValue: 5 }] } }],
    })
    await expect(epp(kubeconfig, '--pool-name=llm', `--config-text=${config}`)).rejects.toThrow(
      /--config-text.*utilization-filter.*--allow-experimental-plugins/s,
    )
    await epp(kubeconfig, '--pool-name=llm', `--config-text=${config}`, '--allow-experimental-plugins')
  }, 60_000)

  it('takes a changed --config-file without a restart, and not a bad one', async () => {
    const { server, kubeconfig } = await apiServer()
    server.put(POOLS, rawPool('llm', { app: 'vllm' }, [port]))
    server.put(POD_PATH, rawPod('a', '127.0.0.2', { app: 'vllm', tier: 'x' }))
    server.put(POD_PATH, rawPod('b', '127.0.0.3', { app: 'vllm', tier: 'y' }))
    const folder = await makeTempFolder()
    cleanups.push(() => folder.remove())
    const file = join(folder.path, 'picker.yaml')
    const write = async (type: string, tier: string) => {
      const plugins = `plugins: [{ type: ${type}, parameters: { matchLabels: { tier: ${tier} } } }]`
      await writeFile(`${file}.new`, `apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n${plugins}\n`)
      await rename(`${file}.new`, file)
    }
    await write('label-selector-filter', 'x')
    const signalbox = await epp(
      kubeconfig,
      '--pool-name=llm',
      '--secure-serving=false',
      `--config-file=${file}`,
      '--metrics-endpoint-auth=false',
    )
    await isReady(client(signalbox.healthAddress))
    const gateway = client(signalbox.extProcAddress)
    expect(await gateway.pick()).toEqual({ endpoints: at('127.0.0.2') })
    await write('label-selector-flter', 'y')
    await waitFor('the refusal', async () =>
      (await (await fetch(`http://${signalbox.adminAddress}/configuration`)).text()).includes('label-selector-flter'),
    )
    expect(await gateway.pick()).toEqual({ endpoints: at('127.0.0.2') })
    await write('label-selector-filter', 'y')
    await waitFor('the new filter', async () => (await gateway.pick()).endpoints === at('127.0.0.3'))
  }, 60_000)

  it('serves as before while gateways turn away, and ends as soon as nobody is connected', async () => {
    const { server, kubeconfig } = await apiServer()
    server.put(POOLS, rawPool('llm', { app: 'vllm' }, [port]))
    server.put(POD_PATH, rawPod('a', '127.0.0.2', { app: 'vllm' }))
    const signalbox = await epp(kubeconfig, '--pool-name=llm', '--secure-serving=false', '--drain-timeout=1h')
    const health = client(signalbox.healthAddress)
    await isReady(health)
    const gateway = client(signalbox.extProcAddress)
    expect(await gateway.pick()).toEqual({ endpoints: at('127.0.0.2') })
    let ended = false
    const stopping = signalbox.stop().then(() => (ended = true))
    await waitFor('it to be seen', async () => (await health.health('readiness')) === 'NOT_SERVING')
    expect(await health.health('liveness')).toBe('SERVING')
    for (let i = 0; i < 5; i++) expect(await gateway.pick()).toEqual({ endpoints: at('127.0.0.2') })
    expect(ended).toBe(false)
    gateway.close()
    await stopping
  }, 60_000)

  it('serves pods by labels where there is no InferencePool', async () => {
    const { server, kubeconfig } = await apiServer()
    server.put(POD_PATH, rawPod('a', '127.0.0.2', { app: 'vllm' }))
    server.put(POD_PATH, rawPod('b', '127.0.0.3', { app: 'other' }))
    const flags = ['--endpoint-selector=app=vllm', `--endpoint-target-ports=${port}`, '--secure-serving=false']
    const signalbox = await epp(kubeconfig, ...flags)
    await isReady(client(signalbox.healthAddress))
    expect(await client(signalbox.extProcAddress).pick()).toEqual({ endpoints: at('127.0.0.2') })
  }, 60_000)
})

describe('many pools in one process', () => {
  const pool = (name: string, service: string, servicePort?: number) => {
    const raw = rawPool(name, { app: name }, [port])
    const ref = { name: service, ...(servicePort === undefined ? {} : { port: { number: servicePort } }) }
    return { ...raw, spec: { ...(raw['spec'] as object), endpointPickerRef: ref } }
  }

  it('are told apart by metadata of the call, by the Service, and by metadata of the request', async () => {
    const { server, kubeconfig } = await apiServer()
    for (const [name, ip] of [
      ['a', '127.0.0.2'],
      ['b', '127.0.0.3'],
      ['c', '127.0.0.4'],
      ['d', '127.0.0.5'],
    ] as const)
      server.put(POD_PATH, rawPod(name, ip, { app: name }))
    server.put(POOLS, pool('a', 'picker-a'))
    server.put(POOLS, pool('b', 'shared', 9002))
    server.put(POOLS, pool('c', 'shared', 9002))
    server.put(POOLS, pool('d', 'shared', 9012))
    const signalbox = await epp(kubeconfig, '--all-pools', '--secure-serving=false', '--metrics-endpoint-auth=false')
    const health = client(signalbox.healthAddress)
    await isReady(health)
    const to = (authority: string) => client(signalbox.extProcAddress, { authority })

    const plain = to('somewhere')
    for (const [name, endpoints] of [
      ['default/a', at('127.0.0.2')],
      ['default/d', at('127.0.0.5')],
    ] as const) {
      expect(await plain.pick({ call: { 'x-signalbox-pool': name } })).toEqual({ endpoints })
      expect(await plain.pick({ metadata: { 'signalbox.dev': { pool: name } } })).toEqual({ endpoints })
    }
    expect(await plain.pick({ call: { 'x-signalbox-pool': 'default/x' } })).toHaveProperty('failure')
    const unknown = await plain.pick()
    expect(unknown.status).toBe(503)
    expect(unknown.body).toContain('unknown_pool')

    for (const authority of [
      'outbound|9002||picker-a.default.svc.cluster.local',
      'picker-a.default.svc.cluster.local:9002',
      'picker-a.default',
    ])
      expect(await to(authority).pick()).toEqual({ endpoints: at('127.0.0.2') })
    expect(await to('shared.default.svc:9012').pick()).toEqual({ endpoints: at('127.0.0.5') })
    const shared = to('outbound|9002||shared.default.svc.cluster.local')
    expect(await shared.pick()).toMatchObject({ status: 503 })
    expect(await shared.pick({ metadata: { 'signalbox.dev': { pool: 'default/c' } } })).toEqual({
      endpoints: at('127.0.0.4'),
    })
    // Not of this Service.
    expect(await shared.pick({ metadata: { 'signalbox.dev': { pool: 'default/a' } } })).toMatchObject({ status: 503 })

    // What the gateway tells of a request's route or cluster goes before the Service: Istio asks one picker for all of a route.
    const clusterOf = (service: string) => ({
      'xds.cluster_name': `outbound|54321||${service}.default.svc.cluster.local`,
    })
    const picker = to('outbound|9002||picker-a.default.svc.cluster.local')
    for (const attributes of [
      clusterOf('d-ip-18ac3e73'),
      { 'xds.route_metadata.filter_metadata["signalbox.dev"].pool': 'default/d' },
      { 'xds.route_metadata.filter_metadata["signalbox.dev"]["pool"]': 'default/d', ...clusterOf('c-ip-2e7d2c03') },
    ])
      for (const at0 of [picker, shared, plain])
        expect(await at0.pick({ attributes })).toEqual({ endpoints: at('127.0.0.5') })
    for (const attributes of [{ 'xds.cluster_name': 'd' }, clusterOf('d'), { other: 'default/d' }])
      expect(await picker.pick({ attributes })).toEqual({ endpoints: at('127.0.0.2') })
    // A pool that is not here is none of those that are.
    const elsewhere = [
      { attributes: clusterOf('x-ip-2d711642') },
      { attributes: { 'xds.route_metadata.filter_metadata["signalbox.dev"].pool': 'default/x' } },
      { metadata: { 'signalbox.dev': { pool: 'default/x' } } },
    ]
    const refused = async () => {
      const text = await (await fetch(`http://${signalbox.adminAddress}/metrics`)).text()
      return Number(/^signalbox_requests_refused_total\{code="unknown_pool"\} (\d+)$/m.exec(text)?.[1] ?? 0)
    }
    const before = await refused()
    for (const request of elsewhere) {
      const { status, body } = await picker.pick(request)
      expect({ status, body }).toMatchObject({ status: 503, body: expect.stringContaining('is not served here') })
    }
    expect(await refused()).toBe(before + elsewhere.length)
    for (const name of ['a', 'b', 'c']) server.remove(POOLS, name)
    await waitFor('the only pool', async () => (await picker.pick()).endpoints === at('127.0.0.5'))
    for (const request of elsewhere) expect(await picker.pick(request)).toMatchObject({ status: 503 })
  }, 60_000)

  it('can be those that name a Service; pools come and go', async () => {
    const { server, kubeconfig } = await apiServer()
    server.put(POD_PATH, rawPod('a', '127.0.0.2', { app: 'a' }))
    server.put(POD_PATH, rawPod('b', '127.0.0.3', { app: 'b' }))
    server.put(POOLS, pool('b', 'other'))
    const signalbox = await epp(kubeconfig, '--pools-of-service=picker', '--secure-serving=false')
    await isReady(client(signalbox.healthAddress))
    const gateway = client(signalbox.extProcAddress)
    expect(await gateway.pick()).toHaveProperty('failure')
    server.put(POOLS, pool('a', 'picker'))
    await waitFor('the pool', async () => (await gateway.pick()).endpoints === at('127.0.0.2'))
    server.put(POOLS, pool('b', 'picker'))
    await waitFor('two pools', async () => (await gateway.pick()).body?.includes('unknown_pool') === true)
    expect(await gateway.pick({ call: { 'x-signalbox-pool': 'default/b' } })).toEqual({ endpoints: at('127.0.0.3') })
    server.remove(POOLS, 'a')
    await waitFor('one pool', async () => (await gateway.pick()).endpoints === at('127.0.0.3'))
  }, 60_000)
})

describe('a filter of ours in the gateway', () => {
  it('is told the model, or pool and endpoint by the model', async () => {
    const { server, kubeconfig } = await apiServer()
    server.put(POD_PATH, rawPod('a', '127.0.0.2', { app: 'a' }))
    server.put(POD_PATH, rawPod('b', '127.0.0.3', { app: 'b' }))
    server.put(POOLS, rawPool('a', { app: 'a' }, [port]))
    server.put(POOLS, rawPool('b', { app: 'b' }, [port]))
    const flags = [
      '--pool-name=a',
      '--pool-name=b',
      '--model-pool=*=a',
      '--model-pool=tiny=b',
      '--secure-serving=false',
    ]
    const signalbox = await epp(kubeconfig, ...flags)
    await isReady(client(signalbox.healthAddress))
    const gateway = client(signalbox.extProcAddress)
    const ask = (plug: string, model: string) =>
      gateway.pick({
        path: '/v1/chat/completions',
        call: { 'x-signalbox-plug': plug },
        body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], model }),
      })
    expect(await ask('route', 'tiny')).toEqual({ model: 'tiny', endpoints: undefined })
    await waitFor('both pools', async () => (await ask('pick', 'tiny')).endpoints === at('127.0.0.3'))
    expect(await ask('pick', 'tiny')).toEqual({ model: 'tiny', endpoints: at('127.0.0.3') })
    expect(await ask('pick', 'else')).toEqual({ model: 'else', endpoints: at('127.0.0.2') })
    expect(await ask('other', 'tiny')).toHaveProperty('failure')
  }, 60_000)
})
