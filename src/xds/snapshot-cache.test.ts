import { fromBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import type { EnvoyResources } from '../config/envoy-resources.ts'
import { DiscoveryResponseSchema } from '../gen/envoy/service/discovery/v3/discovery_pb.ts'
import { encodeDiscoveryResponse } from './discovery-response.ts'
import { InvalidResourcesError } from './invalid-resources-error.ts'
import { SnapshotCache } from './snapshot-cache.ts'
import { TypeUrl } from './type-urls.ts'

const none: EnvoyResources = { clusters: [], endpoints: [], listeners: [], routes: [], secrets: [], others: [] }
const runtime = { '@type': 'type.googleapis.com/envoy.service.runtime.v3.Runtime', name: 'r', layer: { a: true } }

describe('SnapshotCache', () => {
  it('has versions of content per type, independent of order', () => {
    const [one, two] = [new SnapshotCache(), new SnapshotCache()]
    one.set({ ...none, clusters: [{ name: 'a' }, { name: 'b' }], routes: [{ name: 'r' }] })
    two.set({ ...none, clusters: [{ name: 'b' }, { name: 'a' }], routes: [{ name: 's' }] })
    const version = (cache: SnapshotCache, typeUrl: string) => cache.snapshot?.get(typeUrl)?.version
    expect(version(one, TypeUrl.CLUSTER)).toBe(version(two, TypeUrl.CLUSTER))
    expect(version(one, TypeUrl.ROUTE)).not.toBe(version(two, TypeUrl.ROUTE))
    expect(version(one, TypeUrl.LISTENER)).toBeDefined()
  })

  it('tells listeners about changes only', () => {
    const cache = new SnapshotCache()
    let calls = 0
    const stop = cache.subscribe(() => calls++)
    expect(cache.set({ ...none, others: [runtime] })).toBe(true)
    expect(cache.set({ ...none, others: [{ ...runtime, layer: { a: true } }] })).toBe(false)
    expect(cache.set({ ...none, others: [{ ...runtime, layer: { a: false } }] })).toBe(true)
    expect(cache.set(none)).toBe(true)
    expect(calls).toBe(3)
    stop()
    cache.set({ ...none, clusters: [{ name: 'a' }] })
    expect(calls).toBe(3)
  })

  it('reports the problems of all resources and keeps what it had', () => {
    const cache = new SnapshotCache()
    cache.set({ ...none, clusters: [{ name: 'a' }] })
    const before = cache.snapshot
    const bad = {
      ...none,
      clusters: [{ name: 'a', x: 1 }, { name: 'b' }, { name: 'b' }],
      routes: [{}],
      others: [{ name: 'o' }],
    }
    let error: unknown
    try {
      cache.set(bad)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(InvalidResourcesError)
    expect((error as InvalidResourcesError).problems.map(({ object, code }) => [object, code])).toEqual([
      ['Cluster a', 'unknown-field'],
      ['Cluster b', 'duplicate-name'],
      ['RouteConfiguration (no name)', 'missing-name'],
      ['resource', 'missing-type'],
    ])
    expect(cache.snapshot).toBe(before)
  })
})

describe('encodeDiscoveryResponse', () => {
  it('is the message that protobuf reads', () => {
    const cache = new SnapshotCache()
    // Sizes around the steps of the length prefix.
    const names = [1, 60, 127, 128, 200, 16_300, 16_384, 20_000].map((length, index) => String(index).repeat(length))
    cache.set({ ...none, clusters: names.map(name => ({ name })) })
    const resources = [...cache.snapshot!.get(TypeUrl.CLUSTER)!.resources.values()]
    const bytes = encodeDiscoveryResponse({ typeUrl: TypeUrl.CLUSTER, version: 'v', nonce: 'n', resources })
    const message = fromBinary(DiscoveryResponseSchema, bytes)
    expect(message).toMatchObject({
      versionInfo: 'v',
      typeUrl: TypeUrl.CLUSTER,
      nonce: 'n',
      controlPlane: { identifier: 'signalbox' },
    })
    expect(
      message.resources.map(any => [any.typeUrl, Buffer.from(any.value).equals(resources.shift()!.bytes)]),
    ).toEqual(names.map(() => [TypeUrl.CLUSTER, true]))
    expect(message.$unknown).toBeUndefined()
  })
})
