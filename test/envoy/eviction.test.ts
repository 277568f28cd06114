import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { afterAll, beforeAll, beforeEach, expect, it, jest } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { isAtLeast } from '../../src/cli/envoy/envoy-version.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { CutOffResponse, openHttp2 } from '../support/http-client.ts'
import { documents, poolYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply, sseReply } from '../support/reply.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

jest.setTimeout(60_000)

const REASON = 'x-llm-d-request-dropped-reason'
const ACTIVE = 'cluster.pool.upstream_rq_active'
const OBJECTIVE = 'x-llm-d-inference-objective'

const mode = (body: string, more: JsonObject = {}): JsonObject => ({
  processingMode: {
    requestHeaderMode: 'SEND',
    responseHeaderMode: 'SEND',
    requestBodyMode: body,
    responseBodyMode: body,
    ...(body === 'FULL_DUPLEX_STREAMED' ? { requestTrailerMode: 'SEND', responseTrailerMode: 'SEND' } : {}),
  },
  ...more,
})
const FILTERS: Readonly<Record<string, JsonObject>> = {
  'full duplex': mode('FULL_DUPLEX_STREAMED'),
  'full duplex, fail open': mode('FULL_DUPLEX_STREAMED', { failureModeAllow: true }),
  look: mode('STREAMED', { sendBodyWithoutWaitingForHeaderResponse: true }),
}

/** Who asks for it learns that requests whose clients have gone are over. */
const PAGE = `vllm:num_requests_waiting 0
vllm:num_requests_running 0
vllm:kv_cache_usage_perc 0
`
/** Two requests at a time. */
const CONFIG = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- { type: concurrency-detector, parameters: { maxConcurrency: 2 } }
- { type: queue-scorer }
- { type: sheddable-eviction-filter }
- { type: priority-then-time-eviction-order-policy }
schedulingProfiles:
- { name: default, plugins: [{ pluginRef: queue-scorer }] }
flowControl: { enableEviction: true, saturationDetector: { pluginRef: concurrency-detector } }
`
const objective = (name: string, priority: number) => `
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: ${name} }
spec: { priority: ${priority}, poolRef: { name: pool } }
`

interface Sent {
  readonly name: string
  readonly response: Promise<Response>
  readonly client: AbortController
}

describeOnEnvoy('eviction, as the endpoint picker of a gateway', envoyBinary => {
  let folder: TempFolder
  let backend: RecordingBackend
  let envoy: EnvoyProcess
  let signalbox: Signalbox
  const ports = new Map<string, number>()
  const clients: AbortController[] = []

  const metric = async (name: string, ...labels: readonly string[]) => {
    const page = await (await fetch(`http://${signalbox.adminAddress}/metrics`)).text()
    const lines = page.split('\n').filter(line => line.startsWith(name) && labels.every(label => line.includes(label)))
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }
  const revocations = async () =>
    [
      await metric('signalbox_flow_control_revocations_issued_total', 'priority="-1"'),
      await metric('signalbox_flow_control_revocations_total', 'outcome="confirmed"'),
    ] as const
  const inFlight = async () => {
    const pools = (await (await fetch(`http://${signalbox.adminAddress}/pools`)).json()) as Record<
      string,
      { inFlight: number }[]
    >
    return pools['default/pool']!.reduce((sum, endpoint) => sum + endpoint.inFlight, 0)
  }
  const send = (listener: string, path: string, priority: string): Sent => {
    const client = new AbortController()
    clients.push(client)
    const name = `${path}?${encodeURIComponent(listener)}${clients.length}`
    const response = fetch(`http://127.0.0.1:${ports.get(listener)}${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close', [OBJECTIVE]: priority },
      body: JSON.stringify({ model: 'm', prompt: 'Hello' }),
      signal: client.signal,
    })
    response.catch(() => {})
    return { name, response, client }
  }
  /** The backend has it. */
  const arrived = ({ name }: Sent) =>
    waitFor(`${name} at the backend`, () => backend.requests.find(({ path }) => path === name))
  const logged = (path: string) =>
    waitFor(`the access log of ${path}`, async () => {
      const lines = (await readFile(join(folder.path, 'access.log'), 'utf8')).split('\n').filter(line => line !== '')
      return lines
        .map(line => JSON.parse(line) as { path: string; status: number; details: string })
        .find(entry => entry.path === path)
    })

  beforeAll(async () => {
    folder = await makeTempFolder()
    backend = await startRecordingBackend({
      script: ({ path }) => {
        if (path === '/metrics') return { chunks: [PAGE], contentLength: true }
        if (path === '/v1/models') return { status: 404 }
        // No response headers ever.
        if (path.startsWith('/silent')) return { silent: true }
        return path.startsWith('/stream') ? { ...sseReply(['1']), after: 'hang' } : jsonReply({})
      },
    })
    await writeFile(
      join(folder.path, 'config.yaml'),
      documents(poolYaml({ addresses: [backend.address] }), objective('urgent', 10), objective('batch', -1), CONFIG),
    )
    const options = [
      `--config=${join(folder.path, 'config.yaml')}`,
      '--pool=default/pool',
      '--ext-proc=127.0.0.1:0',
      '--threads=2',
      '--xds=off',
      '--admin=127.0.0.1:0',
      '--drain=1',
      '--log-level=silent',
    ]
    signalbox = new Signalbox(parseServeOptions(options), createLog('silent'))
    await signalbox.start()
    envoy = await startEnvoy({
      binary: envoyBinary.path,
      bootstrap: gatewayBootstrap({
        peers: { plain: { address: signalbox.extProcAddress } },
        listeners: Object.entries(FILTERS).map(([name, filter]) => ({ name, peer: 'plain', filter })),
        pool: [backend.address],
        special: backend.address,
        accessLog: join(folder.path, 'access.log'),
      }),
      // A connection to us for each.
      concurrency: 2,
      extraArgs: ['--file-flush-interval-msec', '50'],
    })
    await envoy.ready()
    for (const name of Object.keys(FILTERS)) ports.set(name, await envoy.admin.listenerPort(name))
  })
  beforeEach(async () => {
    for (const client of clients) client.abort()
    await waitFor('an empty pool', async () => (await inFlight()) === 0)
  })
  afterAll(async () => {
    for (const client of clients) client.abort()
    await envoy?.stop()
    await signalbox?.stop()
    await backend?.close()
    await folder.remove()
  })

  it.each(Object.keys(FILTERS))('%s: a victim gets 429 with the reason, and who waited is served', async listener => {
    const [issued, confirmed] = await revocations()
    const first = send(listener, '/silent', 'batch')
    await arrived(first)
    const second = send(listener, '/silent', 'batch')
    await arrived(second)
    const urgent = await send(listener, '/quick', 'urgent').response
    expect([urgent.status, await urgent.text()]).toEqual([200, '{}'])
    // The one that was sent last.
    const victim = await second.response
    expect(victim.status).toBe(429)
    expect(victim.headers.get(REASON)).toBe('evicted')
    expect(victim.headers.get('retry-after')).toBe('1')
    expect(await victim.json()).toMatchObject({ error: { code: 'evicted', type: 'rate_limit_error' } })
    expect(await logged(second.name)).toMatchObject({ status: 429, details: 'signalbox_evicted' })
    expect(await revocations()).toEqual([issued + 1, confirmed + 1])
    expect(await inFlight()).toBe(1)
    // Nothing of the victim goes on at the replica.
    await waitFor('one request at the replica', async () => (await envoy.admin.stats(`^${ACTIVE}$`))[ACTIVE] === 1)
  })

  it.each(Object.keys(FILTERS))('%s: in the middle of events the response is cut off', async listener => {
    const held = [send(listener, '/stream', 'batch'), send(listener, '/stream', 'batch')]
    const responses = await Promise.all(held.map(({ response }) => response))
    expect(responses.map(({ status }) => status)).toEqual([200, 200])
    const cut = responses.map((response, i) =>
      response.text().then(
        () => -1,
        () => i,
      ),
    )
    const urgent = await send(listener, '/quick', 'urgent').response
    expect(urgent.status).toBe(200)
    const victim = held[await Promise.race(cut)]!
    await waitFor('one request at the replica', async () => (await envoy.admin.stats(`^${ACTIVE}$`))[ACTIVE] === 1)
    expect(await inFlight()).toBe(1)
    const entry = await logged(victim.name)
    // It was on its way with the response's own.
    expect(entry.status).toBe(200)
  })

  it('HTTP/2: the stream is reset in the middle of events', async () => {
    const gateway = openHttp2(ports.get('full duplex')!)
    let events = 0
    const held = [1, 2].map(() =>
      gateway.send({
        path: '/stream',
        headers: { 'content-type': 'application/json', [OBJECTIVE]: 'batch' },
        body: '{"model":"m","prompt":"x"}',
        onData: () => events++,
      }),
    )
    for (const response of held) response.catch(() => {})
    await waitFor('both streams', () => events === 2)
    expect((await send('full duplex', '/quick', 'urgent').response).status).toBe(200)
    const [victim] = await Promise.race(held.map(response => Promise.allSettled([response])))
    // What Envoy 1.36 does looks like an end to this client.
    if (isAtLeast(envoyBinary.version, '1.38.0')) expect(victim).toMatchObject({ reason: expect.any(CutOffResponse) })
    // The connection goes on, and with it the other one.
    const other = await gateway.send({ path: '/quick', headers: { [OBJECTIVE]: 'urgent' } })
    expect(other.status).toBe(200)
    expect(await inFlight()).toBe(1)
    gateway.close()
    await Promise.allSettled(held)
  })

  it.each(['batch', 'urgent'])('a pool full of urgent requests: one of %s waits', async priority => {
    const listener = 'full duplex'
    const before = await revocations()
    const held = [send(listener, '/silent', 'urgent'), send(listener, '/silent', 'urgent')]
    await Promise.all(held.map(arrived))
    const late = send(listener, '/quick', priority)
    await waitFor('it to wait', async () => (await metric('signalbox_flow_control_queue_size')) === 1)
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(await inFlight()).toBe(2)
    expect(await revocations()).toEqual(before)
    held[0]!.client.abort()
    expect((await late.response).status).toBe(200)
  })
})
