import { afterEach, expect, it, jest } from '@jest/globals'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { waitFor } from '../support/wait-for.ts'

jest.setTimeout(60_000)

const DROP_REASON = 'x-llm-d-request-dropped-reason'

/** One request at a time. */
const flowControl = (spec: string, gate = true) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl=${gate}]
plugins:
- { type: concurrency-detector, parameters: { maxConcurrency: 1 } }
- { type: queue-scorer }
- { type: max-score-picker }
schedulingProfiles:
- name: default
  plugins: [{ pluginRef: queue-scorer }, { pluginRef: max-score-picker }]
flowControl: { saturationDetector: { pluginRef: concurrency-detector }, ${spec} }
`

const objective = (name: string, priority: number) => `
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: ${name} }
spec: { priority: ${priority}, poolRef: { name: pool } }
`

const POOL_WITHOUT_ENDPOINTS = `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: pool }
spec: { selector: { matchLabels: { pool: pool } }, targetPorts: [{ number: 8000 }] }
`

describeOnPlanes('flow control', plane => {
  let rig: Rig | undefined
  let backend: RecordingBackend | undefined
  const clients: AbortController[] = []

  afterEach(async () => {
    for (const client of clients.splice(0)) client.abort()
    await rig?.stop()
    await backend?.close()
    rig = backend = undefined
  })

  const configuration = (
    spec: string,
    { parameters = '{}', annotations = {}, pool = poolYaml({ addresses: [backend!.address] }), gate = true } = {},
  ) =>
    documents(
      GATEWAY,
      pool,
      routeYaml({ models: { '': 'pool' }, annotations }),
      objective('urgent', 10),
      objective('batch', -1),
      parametersYaml(parameters),
      flowControl(spec, gate),
    )

  const start = async (spec: string, options: Parameters<typeof configuration>[1] = {}) => {
    backend = await startRecordingBackend({
      script: ({ path, headers }) => {
        if (path === '/v1/models') return jsonReply({ object: 'list', data: [{ id: 'm', object: 'model' }] })
        return headers['x-hang'] === undefined
          ? jsonReply({ ok: true })
          : { ...jsonReply({}), after: 'hang', contentLength: false }
      },
    })
    rig = await Rig.start({ plane, config: configuration(spec, options) })
    await rig.decides('/v1/completions')
  }

  interface Sent {
    readonly client: AbortController
    readonly response: Promise<Response>
  }
  const send = (name: string, headers: Readonly<Record<string, string>> = {}): Sent => {
    const client = new AbortController()
    clients.push(client)
    const response = fetch(`${rig!.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-name': name, connection: 'close', ...headers },
      body: JSON.stringify({ model: 'm', prompt: 'Hello' }),
      signal: client.signal,
    })
    response.catch(() => {})
    return { client, response }
  }
  /** A request that the backend has, and does not let go of. */
  const occupy = async (): Promise<Sent> => {
    const sent = send('holder', { 'x-hang': 'yes' })
    await sent.response
    return sent
  }
  const sum = async (family: string, ...labels: readonly string[]): Promise<number> => {
    let total = 0
    for (const [sample, value] of await rig!.metrics())
      if (sample.startsWith(family) && labels.every(label => sample.includes(label))) total += value
    return total
  }
  const waiting = (count: number) =>
    waitFor(`${count} waiting`, async () => (await sum('signalbox_flow_control_queue_size')) === count)
  const served = () =>
    backend!.requests.map(({ headers }) => headers['x-name']).filter(name => name !== undefined && name !== 'holder')

  for (const mode of ['look', 'full-duplex'] as const) {
    it(`what is too much waits, and goes on by priority (${mode})`, async () => {
      const annotations = mode === 'look' ? {} : { 'signalbox.dev/body': 'full-duplex' }
      // Longer than Envoy waits for an ordinary decision.
      await start('defaultRequestTTL: 40s', { annotations, parameters: '{ timeouts: { message: 1s } }' })
      const holder = await occupy()
      const sent: Sent[] = []
      const queue = async (name: string, objectiveName?: string) => {
        const headers = objectiveName === undefined ? {} : { 'x-llm-d-inference-objective': objectiveName }
        sent.push(send(name, headers))
        await waiting(sent.length)
      }
      await queue('batch', 'batch')
      await queue('first')
      await queue('second')
      await queue('urgent', 'urgent')
      await new Promise(resolve => setTimeout(resolve, 1500))
      expect(served()).toEqual([])
      holder.client.abort()
      const responses = await Promise.all(sent.map(({ response }) => response))
      expect(responses.map(({ status }) => status)).toEqual([200, 200, 200, 200])
      // Of equal priority: in the order of each thread's queue.
      const order = served()
      expect(order[0]).toBe('urgent')
      expect(new Set(order.slice(1, 3))).toEqual(new Set(['first', 'second']))
      expect(order[3]).toBe('batch')
      await waiting(0)
    })
  }

  it('a request that has waited as long as it may is refused', async () => {
    await start('defaultRequestTTL: 500ms')
    await occupy()
    const late = await send('late').response
    expect(late.status).toBe(429)
    expect(late.headers.get(DROP_REASON)).toBe('rejected-ttl-expired')
    expect(late.headers.get('retry-after')).toBe('1')
    expect(await late.json()).toMatchObject({ error: { code: 'queue_timeout' } })
    expect(await sum('signalbox_flow_control_requests_total', 'outcome="EvictedTTL"')).toBe(1)
    expect(served()).toEqual([])
  })

  it('a request for which there is no room is refused', async () => {
    await start('defaultRequestTTL: 50s, priorityBands: [{ priority: 10, maxRequests: 1 }]')
    const holder = await occupy()
    const urgent = { 'x-gateway-inference-objective': 'urgent' }
    const first = send('first', urgent)
    await waiting(1)
    const second = await send('second', urgent).response
    expect(second.status).toBe(429)
    expect(second.headers.get(DROP_REASON)).toBe('rejected-saturated')
    expect(second.headers.get('retry-after')).toBe('1')
    expect(await second.json()).toMatchObject({ error: { code: 'queue_full' } })
    holder.client.abort()
    expect((await first.response).status).toBe(200)
    expect(served()).toEqual(['first'])
  })

  it('the time that the client gives the request bounds its wait', async () => {
    await start('defaultRequestTTL: 50s')
    await occupy()
    const late = await send('late', { 'grpc-timeout': '400m' }).response
    expect(late.status).toBe(429)
    expect(late.headers.get(DROP_REASON)).toBe('rejected-ttl-expired')
  })

  it('a client that goes away leaves nothing behind', async () => {
    await start('defaultRequestTTL: 50s')
    const holder = await occupy()
    const gone = send('gone')
    await waiting(1)
    gone.client.abort()
    await waiting(0)
    expect(await sum('signalbox_flow_control_requests_total', 'outcome="EvictedContextCancelled"')).toBe(1)
    expect(await sum('signalbox_flow_control_queue_bytes')).toBe(0)
    holder.client.abort()
    expect((await send('next').response).status).toBe(200)
    expect(served()).toEqual(['next'])
  })

  it('without endpoints requests wait for one to come, but not for ever', async () => {
    await start('defaultRequestTTL: 100ms, noEndpointRequestTTL: 30s', { pool: POOL_WITHOUT_ENDPOINTS })
    const sent = send('patient')
    await waiting(1)
    await rig!.configure(configuration('defaultRequestTTL: 100ms, noEndpointRequestTTL: 30s'))
    expect((await sent.response).status).toBe(200)
    expect(served()).toEqual(['patient'])

    await rig!.configure(configuration('noEndpointRequestTTL: 300ms', { pool: POOL_WITHOUT_ENDPOINTS }))
    const refused = await waitFor('the configuration', async () => {
      const response = await send('late').response
      return response.status === 503 && response
    })
    expect(refused.headers.get(DROP_REASON)).toBe('rejected-no-endpoints')
    expect(refused.headers.get('retry-after')).toBe('1')
  })

  // The embedded data plane goes down with the rest.
  if (plane !== 'embedded') {
    it('a shutdown tells those who wait', async () => {
      await start('defaultRequestTTL: 50s')
      await occupy()
      const sent = send('waits')
      await waiting(1)
      const [response] = await Promise.all([sent.response, rig!.stopSignalbox()])
      expect(response.status).toBe(503)
      expect(response.headers.get(DROP_REASON)).toBe('rejected-shutting-down')
      expect(served()).toEqual([])
    })
  }

  it('without the gate a full pool only refuses priorities below 0', async () => {
    await start('', { gate: false })
    const holder = await occupy()
    const batch = { 'x-llm-d-inference-objective': 'batch' }
    const shed = await send('shed', batch).response
    expect(shed.status).toBe(429)
    expect(shed.headers.get(DROP_REASON)).toBe('rejected-saturated')
    expect(await shed.json()).toMatchObject({ error: { code: 'shed' } })
    expect((await send('first').response).status).toBe(200)
    expect((await send('second', { 'x-llm-d-inference-objective': 'nobody knows' }).response).status).toBe(200)
    holder.client.abort()
    await waitFor('a free pool', async () => (await send('batch', batch).response).status === 200)
    expect(served()).toEqual(['first', 'second', 'batch'])
  })
})
