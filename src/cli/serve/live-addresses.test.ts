import { expect, it } from '@jest/globals'
import { compile } from '../../compile/compile.ts'
import type { Upstream } from '../../compile/envoy/clusters.ts'
import { EXT_PROC_CLUSTER } from '../../compile/names.ts'
import type { EnvoyResources } from '../../config/envoy-resources.ts'
import { withLiveThreads } from './live-addresses.ts'

const compiled = (extProc: Upstream) => compile([], { extProc }).envoy
const cluster = (envoy: EnvoyResources) => envoy.clusters.find(({ name }) => name === EXT_PROC_CLUSTER)!
/** Ports, or paths, of the cluster's endpoints by EDS. */
function told(envoy: EnvoyResources): unknown[] | undefined {
  const assignment = envoy.endpoints.find(each => each['clusterName'] === EXT_PROC_CLUSTER)
  return (
    assignment && [...JSON.stringify(assignment).matchAll(/"(?:portValue|path)":"?([^,"}]+)/g)].map(match => match[1])
  )
}

it('one thread, or names that only DNS knows, are part of the cluster', () => {
  for (const addresses of [['10.0.0.1:9002'], ['signalbox:9003', 'signalbox:9004']]) {
    const envoy = compiled({ addresses })
    expect(told(envoy)).toBeUndefined()
    expect(cluster(envoy)).toHaveProperty('loadAssignment')
    expect(
      withLiveThreads(
        envoy,
        addresses.map((_, i) => i === 0),
      ),
    ).toEqual(envoy)
  }
})

it('of several threads those that serve are told by EDS; all of them when none does', () => {
  const envoy = compiled({ addresses: ['10.0.0.1:9003', '10.0.0.1:9004', '10.0.0.1:9005'] })
  expect(cluster(envoy)).toMatchObject({ type: 'EDS', ignoreHealthOnHostRemoval: true })
  expect(cluster(envoy)).not.toHaveProperty('loadAssignment')
  expect(told(envoy)).toEqual(['9003', '9004', '9005'])
  expect(told(withLiveThreads(envoy, [true, false, true]))).toEqual(['9003', '9005'])
  expect(withLiveThreads(envoy, [false, false, false])).toBe(envoy)
  expect(withLiveThreads(envoy, [true, true, true])).toBe(envoy)
})

it('sockets are told the same way', () => {
  const envoy = compiled({ pipes: ['/run/s', '/run/s.1'] })
  expect(told(withLiveThreads(envoy, [false, true]))).toEqual(['/run/s.1'])
})
