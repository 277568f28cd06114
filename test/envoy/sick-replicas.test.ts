/** Replicas that hang, lie or come and go: traffic goes on, by the others and by what was known last, and the metrics say so. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, jest } from '@jest/globals'
import type { Simulator } from '../../src/sim/simulator.ts'
import { describeOnPlanes } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { type ModelServer, modelsAreListed, startModelServer } from '../support/model-server.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { addressOf, endpointsOf, startSimulators } from '../support/simulators.ts'
import { startTraffic } from '../support/traffic.ts'
import { waitFor } from '../support/wait-for.ts'

const POOL = 'default/pool'
const PATH = '/v1/completions'

jest.setTimeout(120_000)

describeOnPlanes('sick replicas', plane => {
  let replicas: Simulator[]
  let liars: ModelServer[]
  let rig: Rig
  let prompts = 0

  const config = (addresses: readonly string[], lying: readonly string[] = liars.map(({ address }) => address)) =>
    documents(
      GATEWAY,
      poolYaml({ addresses }),
      poolYaml({ name: 'lying', addresses: lying }),
      routeYaml({ models: { '': 'pool' } }),
      routeYaml({ name: 'lying', prefix: '/lying', models: { '': 'lying' } }),
      parametersYaml('{ scrape: { interval: 50ms, timeout: 300ms, stale: 1s } }'),
    )
  const labelsOf = (replica: Simulator) => `pool="${POOL}",endpoint="${addressOf(replica)}"`
  const all = () => replicas.map(addressOf)
  const request = (path = PATH) => ({
    port: rig.port,
    path,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'llama', prompt: `${++prompts} once upon a time`, max_tokens: 4, ignore_eos: true }),
  })
  const metric = async (name: string, labels = `pool="${POOL}"`) => (await rig.metrics()).get(`${name}{${labels}}`)
  const isSaid = (name: string, value: number, labels?: string) =>
    waitFor(`${name} to be ${value}`, async () => (await metric(name, labels)) === value, { timeoutMs: 60_000 })
  /** What serves the next `count` requests, all of which must succeed. */
  const served = async (count: number): Promise<Record<string, number>> => {
    const counts: Record<string, number> = {}
    for (let i = 0; i < count; i++) {
      const { status, headers } = await sendHttp1(request())
      expect(status).toBe(200)
      const name = headers['x-sim-replica']!
      counts[name] = (counts[name] ?? 0) + 1
    }
    return counts
  }
  const nothingIsLeft = () =>
    waitFor('nothing to be in flight', async () => (await endpointsOf(rig, POOL)).every(each => each.inFlight === 0), {
      timeoutMs: 60_000,
    })

  beforeAll(async () => {
    replicas = await startSimulators(['a', 'b', 'c'], { recordedRequests: 10_000 })
    liars = await Promise.all(
      [-1e9, Number.NaN, 0].map((waiting, i) => startModelServer({ name: `l${i}`, models: ['llama'], waiting })),
    )
    rig = await Rig.start({ plane, config: config(all()) })
    await modelsAreListed(rig, [...all().map(address => ({ address })), ...liars])
  })
  beforeEach(async () => {
    await rig.decides(PATH)
    await isSaid('signalbox_pool_stale_endpoints', 0)
  })
  afterEach(() => {
    for (const replica of replicas) replica.clearFaults()
  })
  afterAll(async () => {
    await rig?.stop()
    await Promise.all([...(replicas ?? []), ...(liars ?? [])].map(server => server.close()))
  })

  it('one that hangs is stale, and keeps few requests', async () => {
    const [sick] = replicas as [Simulator]
    const failures = (await metric('signalbox_scrape_failures_total'))!
    sick.setFaults({ hang: true })
    // So many may be under way: where as many hang, nothing goes on any more.
    const underWay = new Set<Promise<number>>()
    const statuses: number[] = []
    while (statuses.length < 300) {
      while (underWay.size < 120) {
        const sent = sendHttp1({ ...request(), timeoutMs: 100_000 }).then(({ status }) => status)
        underWay.add(sent)
        void sent.finally(() => underWay.delete(sent)).catch(() => {})
      }
      statuses.push(await Promise.race(underWay))
    }
    expect(new Set(statuses)).toEqual(new Set([200]))
    await isSaid('signalbox_pool_stale_endpoints', 1)
    await isSaid('signalbox_pool_ready_endpoints', 3)
    expect(await metric('signalbox_endpoint_metrics_age_seconds', labelsOf(sick))).toBeGreaterThan(1)
    expect(await metric('signalbox_scrape_failures_total')).toBeGreaterThan(failures)
    // Those that hang are tried elsewhere when it dies at last.
    const hung = [...underWay]
    sick.setFaults({ hang: null, refuseConnections: true })
    expect(new Set(await Promise.all(hung))).toEqual(new Set([200]))
    await isSaid('signalbox_pool_ready_endpoints', 2)
    sick.clearFaults()
    await isSaid('signalbox_pool_ready_endpoints', 3)
    await isSaid('signalbox_pool_stale_endpoints', 0)
    await waitFor('it to serve again', async () => (await served(6))[sick.name] !== undefined)
    await nothingIsLeft()
  })

  it.each([
    ['status', 'signalbox_scrape_failures_total', 1],
    ['empty', 'signalbox_scrape_failures_total', 1],
    ['garbage', 'signalbox_scrape_failures_total', 1],
    // The rest of its page is good.
    ['truncated', 'signalbox_scrape_missing_total', 0],
  ] as const)('one whose metrics are broken (%s) serves on, with what was known of it', async (how, counter, stale) => {
    const [sick] = replicas as [Simulator]
    const labels = stale === 1 ? undefined : `pool="${POOL}",signal="waiting"`
    const counted = async () => (await metric(counter, labels)) ?? 0
    const before = await counted()
    sick.setFaults({ brokenMetrics: how })
    await waitFor('it to be told', async () => (await counted()) > before + 2, { timeoutMs: 60_000 })
    await isSaid('signalbox_pool_stale_endpoints', stale)
    await isSaid('signalbox_pool_ready_endpoints', 3)
    await waitFor('it to serve', async () => (await served(6))[sick.name] !== undefined, { timeoutMs: 60_000 })
    sick.clearFaults()
    await isSaid('signalbox_pool_stale_endpoints', 0)
    await nothingIsLeft()
  })

  it('one whose queue is no number, or less than nothing, gets no more than its part by that', async () => {
    for (const liar of liars) liar.forget()
    for (let i = 0; i < 60; i++) expect((await sendHttp1(request('/lying'))).status).toBe(200)
    for (const liar of liars) expect(liar.served.length).toBeGreaterThan(5)
    const invalid = await metric('signalbox_scrape_invalid_total', 'pool="default/lying",signal="waiting"')
    expect(invalid).toBeGreaterThan(0)
  })

  it('one whose readiness flaps costs no request', async () => {
    const [sick] = replicas as [Simulator]
    const traffic = startTraffic(6, () => request())
    try {
      for (let i = 0; i < 4; i++) {
        await rig.configure(config(all().slice(1)))
        await isSaid('signalbox_pool_ready_endpoints', 2)
        await rig.configure(config(all()))
        await isSaid('signalbox_pool_ready_endpoints', 3)
      }
      const seen = traffic.answers.length
      await waitFor('it to serve again', () =>
        traffic.answers.slice(seen).some(({ headers }) => headers['x-sim-replica'] === sick.name),
      )
    } finally {
      await traffic.stop()
    }
    expect(traffic.failures.slice(0, 5)).toEqual([])
    await nothingIsLeft()
  })

  it('one that dies and comes back again and again costs no request', async () => {
    const [sick] = replicas as [Simulator]
    const traffic = startTraffic(6, () => request())
    try {
      for (let i = 0; i < 6; i++) {
        // Every other time longer than it takes to be noticed.
        if (i % 2 === 0) {
          sick.setFaults({ refuseConnections: true })
          await isSaid('signalbox_pool_ready_endpoints', 2)
          sick.clearFaults()
        } else {
          sick.setFaults({ refuseConnections: true, durationMs: 40 })
          await waitFor('it to be back', () => sick.faults.refuseConnections !== true)
        }
        await isSaid('signalbox_pool_ready_endpoints', 3)
        const seen = traffic.answers.length
        await waitFor('traffic', () => traffic.answers.length > seen + 12)
      }
    } finally {
      await traffic.stop()
    }
    expect(traffic.failures.slice(0, 5)).toEqual([])
    await nothingIsLeft()
  })
})
