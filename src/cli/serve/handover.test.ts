import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { EnvoyResources } from '../../config/envoy-resources.ts'
import type { PoolPlan } from '../../inference/pool-plan.ts'
import type { Plan } from '../../pipeline/plan.ts'
import { Handover } from './handover.ts'

/** Pool name → ports of its endpoints. */
type Pools = Readonly<Record<string, readonly number[]>>

const host = (port: number) => ({ endpoint: { address: { socketAddress: { address: '10.0.0.1', portValue: port } } } })

function configured(pools: Pools) {
  const names = Object.keys(pools)
  const envoy: EnvoyResources = {
    clusters: names.map(name => ({ name: `cluster-${name}` })),
    endpoints: names.map(name => ({
      clusterName: `cluster-${name}`,
      endpoints: [{ lbEndpoints: pools[name]!.map(host) }],
    })),
    listeners: [],
    routes: [],
    secrets: [],
    others: [],
  }
  const plans = names.map(name => ({
    name,
    cluster: `cluster-${name}`,
    endpoints: pools[name]!.map(port => ({ address: `10.0.0.1:${port}`, labels: {} })),
  }))
  const plan = { version: '1', entries: [], pools: plans as unknown as PoolPlan[] } as unknown as Plan
  return { plan, envoy }
}

describe('Handover', () => {
  /** What is picked from, and what the data planes have; `!` = unhealthy. */
  let picked: Record<string, string> = {}
  let known: Record<string, string> = {}
  let settled = true
  /** Plans come into force when `inForce` is called. */
  let slow = false
  let inForce = () => {}
  let handover: Handover

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: [] })
    settled = true
    slow = false
    handover = make()
    handover.take(configured({ a: [1, 2] }))
  })
  afterEach(() => {
    handover.close()
    jest.useRealTimers()
  })

  const make = (options: { readonly alone?: boolean } = {}) =>
    new Handover({
      ...options,
      run: ({ pools }, done) => {
        inForce = done
        if (!slow) done()
        picked = Object.fromEntries(
          pools.map(pool => [pool.name, pool.endpoints.map(({ address }) => address.split(':')[1]).join(' ')]),
        )
      },
      send: ({ clusters, endpoints }) => {
        known = {}
        for (const { name } of clusters) {
          const assignment = endpoints.find(each => each['clusterName'] === name) as unknown as {
            endpoints: { lbEndpoints: (ReturnType<typeof host> & { healthStatus?: string })[] }[]
          }
          known[name as string] = assignment.endpoints[0]!.lbEndpoints.map(
            each => `${each.healthStatus === 'UNHEALTHY' ? '!' : ''}${each.endpoint.address.socketAddress.portValue}`,
          ).join(' ')
        }
      },
      settled: () => settled,
    })

  it('takes the first configuration at once', () => {
    expect(picked).toEqual({ a: '1 2' })
    expect(known).toEqual({ 'cluster-a': '1 2' })
    expect(jest.getTimerCount()).toBe(0)
  })

  it('picks new endpoints once they are known, and those that are gone stay known for a moment', () => {
    settled = false
    handover.take(configured({ a: [2, 3] }))
    expect(picked).toEqual({ a: '2' })
    expect(known).toEqual({ 'cluster-a': '2 3 !1' })
    jest.advanceTimersByTime(500)
    expect(picked).toEqual({ a: '2' })
    settled = true
    jest.advanceTimersByTime(50)
    expect(picked).toEqual({ a: '2 3' })
    expect(known).toEqual({ 'cluster-a': '2 3 !1' })
    jest.advanceTimersByTime(1000)
    expect(known).toEqual({ 'cluster-a': '2 3' })
    expect(jest.getTimerCount()).toBe(0)
  })

  it('goes on with the old endpoints while all are new', () => {
    settled = false
    handover.take(configured({ a: [3] }))
    expect(picked).toEqual({ a: '1 2' })
    handover.take(configured({ a: [4] }))
    expect(picked).toEqual({ a: '1 2' })
    expect(known).toEqual({ 'cluster-a': '4 !3 !1 !2' })
    settled = true
    jest.advanceTimersByTime(50)
    expect(picked).toEqual({ a: '4' })
    jest.advanceTimersByTime(1000)
    expect(known).toEqual({ 'cluster-a': '4' })
  })

  it('an endpoint that comes back is healthy at once', () => {
    handover.take(configured({ a: [2] }))
    handover.take(configured({ a: [1, 2] }))
    expect(known).toEqual({ 'cluster-a': '1 2' })
    expect(picked).toEqual({ a: '1 2' })
  })

  it('waits a second at most for a data plane that does not answer', () => {
    settled = false
    handover.take(configured({ a: [3] }))
    jest.advanceTimersByTime(1100)
    expect(picked).toEqual({ a: '3' })
  })

  it('keeps pools that are gone for a moment; new ones are there at once', () => {
    handover.take(configured({ b: [9] }))
    expect(picked).toEqual({ a: '1 2', b: '9' })
    expect(known).toEqual({ 'cluster-a': '1 2', 'cluster-b': '9' })
    jest.advanceTimersByTime(1100)
    expect(picked).toEqual({ b: '9' })
    expect(known).toEqual({ 'cluster-b': '9' })
  })

  it('an emptied pool gets no requests, its endpoints linger', () => {
    handover.take(configured({ a: [] }))
    expect(known).toEqual({ 'cluster-a': '!1 !2' })
    jest.advanceTimersByTime(50)
    expect(picked).toEqual({ a: '' })
    jest.advanceTimersByTime(1000)
    expect(known).toEqual({ 'cluster-a': '' })
  })

  it('tells data planes nothing before the plan is in force', () => {
    slow = true
    handover.take(configured({ a: [1, 2], b: [9] }))
    jest.advanceTimersByTime(5000)
    expect(known).toEqual({ 'cluster-a': '1 2' })
    const overtaken = inForce
    handover.take(configured({ a: [1, 2], c: [8] }))
    overtaken()
    expect(known).toEqual({ 'cluster-a': '1 2' })
    slow = false
    inForce()
    expect(known).toMatchObject({ 'cluster-a': '1 2', 'cluster-c': '8' })
    jest.advanceTimersByTime(1100)
    expect(known).toEqual({ 'cluster-a': '1 2', 'cluster-c': '8' })
    expect(picked).toEqual({ a: '1 2', c: '8' })
  })

  it('picks what was sent a second ago, and forgets what is gone, however fast changes follow', () => {
    settled = false
    for (let port = 3; port < 103; port++) {
      handover.take(configured({ a: [port, port + 1] }))
      jest.advanceTimersByTime(100)
    }
    const newest = Math.max(...picked['a']!.split(' ').map(Number))
    expect(newest).toBeGreaterThan(103 - 22)
    const hosts = known['cluster-a']!.split(' ')
    expect(hosts.slice(0, 2)).toEqual(['102', '103'])
    expect(hosts.length).toBeGreaterThan(18)
    expect(hosts.length).toBeLessThan(26)
    jest.advanceTimersByTime(3000)
    expect(picked).toEqual({ a: '102 103' })
    expect(known).toEqual({ 'cluster-a': '102 103' })
    expect(jest.getTimerCount()).toBe(0)
  })

  it('waits for nobody where we configure no data plane', () => {
    settled = false
    handover = make({ alone: true })
    handover.take(configured({ a: [1, 2] }))
    handover.take(configured({ a: [2, 3] }))
    expect(picked).toEqual({ a: '2 3' })
    expect(known).toEqual({ 'cluster-a': '2 3' })
    slow = true
    handover.take(configured({ a: [4] }))
    expect(known).toEqual({ 'cluster-a': '2 3' })
    inForce()
    expect(known).toEqual({ 'cluster-a': '4' })
    expect(jest.getTimerCount()).toBe(0)
  })
})
