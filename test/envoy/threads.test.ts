import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals'
import { Figure } from '../../src/threads/thread-figures.ts'
import type { Threads } from '../../src/threads/threads.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { bodyRecord } from '../support/recorded-request.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { jsonReply } from '../support/reply.ts'
import { Rig } from '../support/rig.ts'
import { startTraffic } from '../support/traffic.ts'
import { waitFor } from '../support/wait-for.ts'

const path = '/v1/chat/completions'
const body = '{"messages":[{"role":"user","content":"hi"}],"model":"m"}'
/** `model` stands last: until all of it is there, the request is undecided. */
const undecided = `{"messages":[{"role":"user","content":"${'words and '.repeat(4000)}"}],"model":"m"}`

describeOnPlanes('two threads', plane => {
  let backends: RecordingBackend[]
  let rig: Rig
  const threads = (): Threads => rig.signalbox!.threads
  const post = () => sendHttp1({ port: rig.port, path, body })
  const streamsOf = (column: number) => threads().figures.get(column, Figure.STREAMS_TOTAL)
  const inFlight = () =>
    [...threads().keeper.pools.values()]
      .flatMap(pool => pool.snapshot())
      .reduce((sum, endpoint) => sum + endpoint.inFlight, 0)
  const nothingIsLeft = () =>
    waitFor('nothing to be in flight', () => {
      if (inFlight() !== 0) throw new Error(String(inFlight()))
      return true
    })
  const config = (count: number) =>
    documents(
      GATEWAY,
      poolYaml({ addresses: backends.slice(0, count).map(({ address }) => address), failureMode: 'FailClose' }),
      routeYaml({ models: { '': 'pool' } }),
      routeYaml({
        name: 'whole',
        prefix: '/whole',
        models: { '': 'pool' },
        annotations: { 'signalbox.dev/model-fact': 'whole' },
      }),
      routeYaml({
        name: 'duplex',
        prefix: '/duplex',
        models: { '': 'pool' },
        annotations: { 'signalbox.dev/body': 'full-duplex' },
      }),
      parametersYaml(),
    )
  const bothServe = () => waitFor('both threads', () => threads().threads.every(thread => threads().isLive(thread)))
  /** What the Envoys of the fleet are told of us. */
  const told = () => rig.signalbox!.threads.threads.map(({ listening }) => listening!.own!.port)

  beforeAll(async () => {
    const script = ({ path }: { readonly path: string }) =>
      path === '/metrics' ? { status: 404 } : jsonReply({ ok: true })
    backends = await Promise.all([1, 2, 3].map(() => startRecordingBackend({ script })))
    // Envoy opens a connection per worker and endpoint; the embedded data plane one per endpoint.
    rig = await Rig.start({ plane, config: config(1), args: ['--threads=2'], concurrency: 2 })
  })
  beforeEach(async () => {
    await bothServe()
    await rig.decides(path)
  })
  afterAll(async () => {
    await rig.stop()
    await Promise.all(backends.map(backend => backend.close()))
  })

  const send = async (count: number, parallel = 16) => {
    const statuses: number[] = []
    await Promise.all(
      Array.from({ length: parallel }, async () => {
        while (statuses.length < count) statuses.push((await post()).status)
      }),
    )
    return new Set(statuses)
  }

  it('both decide, their counts add up, and nothing stays in flight', async () => {
    const before = await rig.metrics()
    expect(await send(2000)).toEqual(new Set([200]))
    await nothingIsLeft()
    const after = await rig.metrics()
    const rise = (name: string) => after.get(name)! - (before.get(name) ?? 0)
    const each = [1, 2].map(column => rise(`signalbox_thread_streams_total{thread="${column}"}`))
    for (const streams of each) expect(streams).toBeGreaterThan(300)
    expect(rise('signalbox_ext_proc_streams_total')).toBe(each[0]! + each[1]!)
    expect(rise('signalbox_requests_routed_total{cluster="pool/default/pool"}')).toBeGreaterThanOrEqual(2000)
    expect(after.get('signalbox_ext_proc_open_exchanges')).toBe(0)
  }, 120_000)

  it('take a configuration before any data plane has it', async () => {
    const traffic = startTraffic(6, () => ({ port: rig.port, path, body }))
    try {
      for (const count of [3, 1, 2]) {
        const { version } = threads().keeper.share()!.plan
        await rig.configure(config(count))
        await waitFor('the configuration', () => threads().keeper.share()!.plan.version !== version)
        const seen = traffic.answers.length
        await waitFor('traffic', () => traffic.answers.length > seen + 50)
      }
    } finally {
      await traffic.stop()
    }
    expect(traffic.failures).toEqual([])
    await nothingIsLeft()
  })

  it('one that dies is left out and replaced; the other one serves on undisturbed', async () => {
    await send(50)
    const [victim, other] = threads().threads
    const { restarts } = victim!
    const ports = told()
    const connections = threads().figures.get(other!.column, Figure.CONNECTIONS)
    const traffic = startTraffic(6, () => ({ port: rig.port, path, body }))
    try {
      await waitFor('traffic', () => traffic.answers.length > 50)
      victim!.kill()
      await waitFor('its death', () => victim!.restarts > restarts)
      const without = traffic.answers.length
      await waitFor('traffic without it', () => traffic.answers.length > without + 20)
      await bothServe()
      const before = streamsOf(victim!.column)
      await waitFor('traffic of the successor', () => streamsOf(victim!.column) > before + 20, { timeoutMs: 15_000 })
    } finally {
      await traffic.stop()
    }
    expect(told()).toEqual(ports)
    // Only what was under way on the dead thread may fail, and what met it before the data plane knew.
    expect(traffic.failures.length).toBeLessThan(30)
    expect(threads().figures.get(other!.column, Figure.CONNECTIONS)).toBe(connections)
    expect((await rig.metrics()).get('signalbox_worker_restarts_total{thread="1"}')).toBe(restarts + 1)
    expect(await send(200)).toEqual(new Set([200]))
    await nothingIsLeft()
  })

  it('one that dies in the middle of uploads takes those with it: none of them reaches a backend, all others arrive whole', async () => {
    for (const backend of backends) backend.forget()
    const [victim, other] = threads().threads
    const { restarts } = victim!
    const open = (column: number) => threads().figures.get(column, Figure.OPEN_EXCHANGES)
    await waitFor('nothing to be open', () => open(victim!.column) + open(other!.column) === 0)
    const paths = ['/v1/uploads', '/whole', '/duplex']
    const uploads = Array.from({ length: 24 }, (_, i) =>
      sendHttp1({
        port: rig.port,
        path: paths[i % 3]!,
        body: undecided,
        writeBytes: 1000,
        gapMs: 100,
        framing: 'chunked',
      }),
    )
    await waitFor(
      'uploads on both threads',
      () =>
        open(victim!.column) + open(other!.column) === uploads.length && open(victim!.column) * open(other!.column) > 0,
    )
    const lost = open(victim!.column)
    victim!.kill()
    const statuses = (await Promise.all(uploads)).map(({ status }) => status)
    const arrived = statuses.filter(status => status === 200).length
    expect(statuses.filter(status => status === 503)).toHaveLength(lost)
    expect(arrived).toBe(uploads.length - lost)
    const reached = backends.flatMap(backend => backend.requests.filter(({ method }) => method === 'POST'))
    expect(reached).toHaveLength(arrived)
    for (const request of reached) expect(request.body.sha256).toBe(bodyRecord(undecided).sha256)
    await waitFor('its death', () => victim!.restarts > restarts)
    await bothServe()
    await nothingIsLeft()
  })
})
