import type { JsonObject } from '@bufbuild/protobuf'
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { AdsStream } from './ads-stream.ts'
import type { DiscoveryAnswer } from './discovery-response.ts'
import { ResourceRegistry } from './registry.ts'
import { SnapshotCache } from './snapshot-cache.ts'
import { TypeUrl } from './type-urls.ts'

const { CLUSTER, ENDPOINTS, LISTENER, ROUTE, SECRET } = TypeUrl
const registry = new ResourceRegistry()

/** Cluster by EDS, endpoints on `port`, and the other types; the second part of a text is its content: `a:2`. */
interface Config {
  readonly clusters?: readonly string[]
  readonly endpoints?: readonly string[]
  readonly listeners?: readonly string[]
  readonly routes?: readonly string[]
  readonly secrets?: readonly string[]
}

function named(texts: readonly string[] = [], make: (name: string, content: number) => JsonObject): JsonObject[] {
  return texts.map(text => {
    const [name = '', content] = text.split(':')
    return make(name, Number(content ?? 1))
  })
}

class Ads {
  readonly cache = new SnapshotCache(registry)
  sends(config: Config): void {
    this.cache.set({
      clusters: named(config.clusters, (name, seconds) => ({
        name,
        type: 'EDS',
        edsClusterConfig: { edsConfig: { ads: {} } },
        connectTimeout: `${seconds}s`,
      })),
      endpoints: named(config.endpoints, (clusterName, weight) => ({
        clusterName,
        policy: { overprovisioningFactor: 100 + weight },
      })),
      listeners: named(config.listeners, (name, statPrefix) => ({ name, statPrefix: String(statPrefix) })),
      routes: named(config.routes, (name, value) => ({ name, internalOnlyHeaders: [String(value)] })),
      secrets: named(config.secrets, (name, value) => ({
        name,
        genericSecret: { secret: { inlineString: String(value) } },
      })),
      others: [],
    })
  }
}

/** One stream to `ads`. Answers wait in a queue until the test takes them. */
class Client {
  readonly #stream: AdsStream
  readonly #answers: DiscoveryAnswer[] = []
  readonly #last = new Map<string, DiscoveryAnswer>()
  readonly #names = new Map<string, readonly string[]>()

  constructor(ads: Ads) {
    this.#stream = new AdsStream({ snapshot: () => ads.cache.snapshot, send: answer => this.#answers.push(answer) })
    const stop = ads.cache.subscribe(() => this.#stream.push())
    closers.push(() => {
      stop()
      this.#stream.close()
    })
  }
  asks(typeUrl: string, ...names: string[]): void {
    this.#names.set(typeUrl, names)
    this.#stream.request(typeUrl, { resourceNames: names, responseNonce: this.#last.get(typeUrl)?.nonce ?? '' })
  }
  receives(typeUrl: string, ...names: string[]): DiscoveryAnswer {
    const answer = this.#answers.shift()
    expect([answer?.typeUrl, answer?.resources.map(resource => resource.name)]).toEqual([typeUrl, names])
    this.#last.set(typeUrl, answer!)
    return answer!
  }
  receivesNothing(): void {
    expect(this.#answers.map(answer => answer.typeUrl)).toEqual([])
  }
  acks(...typeUrls: string[]): void {
    for (const typeUrl of typeUrls) this.asks(typeUrl, ...(this.#names.get(typeUrl) ?? []))
  }
  nacks(typeUrl: string, error: string): void {
    const responseNonce = this.#last.get(typeUrl)?.nonce ?? ''
    this.#stream.request(typeUrl, { resourceNames: this.#names.get(typeUrl) ?? [], responseNonce, error })
  }
  /** The usual start of an Envoy, everything accepted. */
  startsWith(clusters: string[], listeners: string[], routes: string[]): void {
    this.asks(CLUSTER)
    this.receives(CLUSTER, ...clusters)
    this.asks(ENDPOINTS, ...clusters)
    if (clusters.length > 0) this.receives(ENDPOINTS, ...clusters)
    this.acks(ENDPOINTS, CLUSTER)
    this.asks(LISTENER)
    this.receives(LISTENER, ...listeners)
    this.acks(LISTENER)
    this.asks(ROUTE, ...routes)
    this.receives(ROUTE, ...routes)
    this.acks(ROUTE)
    this.receivesNothing()
  }
}

const closers: (() => void)[] = []
beforeEach(() => {
  jest.useFakeTimers()
})
afterEach(() => {
  for (const close of closers.splice(0)) close()
  expect(jest.getTimerCount()).toBe(0)
  jest.useRealTimers()
})

const first: Config = { clusters: ['a'], endpoints: ['a'], listeners: ['l'], routes: ['r'] }

it('says nothing before there is a configuration, then answers', () => {
  const ads = new Ads()
  const client = new Client(ads)
  client.asks(CLUSTER)
  client.asks(LISTENER)
  client.receivesNothing()
  ads.sends({ clusters: ['a'], listeners: ['l'] })
  client.receives(CLUSTER, 'a')
  client.receivesNothing()
  client.acks(CLUSTER)
  client.receives(LISTENER, 'l')
})

it('starts an Envoy', () => {
  const ads = new Ads()
  ads.sends(first)
  new Client(ads).startsWith(['a'], ['l'], ['r'])
})

it('sends nothing for an equal configuration', () => {
  const ads = new Ads()
  ads.sends(first)
  const client = new Client(ads)
  client.startsWith(['a'], ['l'], ['r'])
  ads.sends(first)
  client.receivesNothing()
})

it('answers a reconnecting client that has everything already', () => {
  const ads = new Ads()
  ads.sends(first)
  const before = new Client(ads)
  before.asks(CLUSTER)
  const { version } = before.receives(CLUSTER, 'a')
  const client = new Client(ads)
  client.startsWith(['a'], ['l'], ['r'])
  const other = new Client(ads)
  other.asks(CLUSTER)
  expect(other.receives(CLUSTER, 'a').version).toBe(version)
})

it('gives all nodes the same, each at its own pace', () => {
  const ads = new Ads()
  ads.sends(first)
  const [one, two] = [new Client(ads), new Client(ads)]
  one.startsWith(['a'], ['l'], ['r'])
  two.asks(LISTENER)
  two.receives(LISTENER, 'l')
  ads.sends({ ...first, endpoints: ['a:2'] })
  one.receives(ENDPOINTS, 'a')
  two.receivesNothing()
})

it('uses a nonce once', () => {
  const ads = new Ads()
  ads.sends(first)
  const client = new Client(ads)
  client.asks(CLUSTER)
  client.asks(ENDPOINTS, 'a')
  expect(client.receives(CLUSTER, 'a').nonce).not.toBe(client.receives(ENDPOINTS, 'a').nonce)
})

describe('order', () => {
  it('sends unchanged endpoints right after their changed cluster, and only those', () => {
    const ads = new Ads()
    const config = { ...first, clusters: ['a', 'b'], endpoints: ['a', 'b'] }
    ads.sends(config)
    const client = new Client(ads)
    client.startsWith(['a', 'b'], ['l'], ['r'])
    ads.sends({ ...config, clusters: ['a', 'b:2'] })
    client.receives(CLUSTER, 'a', 'b')
    client.receives(ENDPOINTS, 'b')
    client.acks(ENDPOINTS, CLUSTER)
    client.receivesNothing()
  })

  it('sends new routes when the new cluster and its endpoints were accepted', () => {
    const ads = new Ads()
    ads.sends(first)
    const client = new Client(ads)
    client.startsWith(['a'], ['l'], ['r'])
    ads.sends({ ...first, clusters: ['a', 'b'], endpoints: ['a', 'b'], routes: ['r:2'] })
    client.receives(CLUSTER, 'a', 'b')
    client.asks(ENDPOINTS, 'a', 'b')
    client.receives(ENDPOINTS, 'b')
    client.acks(ENDPOINTS)
    client.receivesNothing()
    client.acks(CLUSTER)
    client.receives(ROUTE, 'r')
  })

  it('waits for a cluster no longer than 5 s', () => {
    const ads = new Ads()
    ads.sends(first)
    const client = new Client(ads)
    client.startsWith(['a'], ['l'], ['r'])
    ads.sends({ ...first, clusters: ['a', 'b'], routes: ['r:2'] })
    client.receives(CLUSTER, 'a', 'b')
    jest.advanceTimersByTime(4900)
    client.receivesNothing()
    jest.advanceTimersByTime(200)
    client.receives(ROUTE, 'r')
  })

  it('does not wait for a refused cluster', () => {
    const ads = new Ads()
    ads.sends(first)
    const client = new Client(ads)
    client.startsWith(['a'], ['l'], ['r'])
    ads.sends({ ...first, clusters: ['a:2'], routes: ['r:2'] })
    client.receives(CLUSTER, 'a')
    client.receives(ENDPOINTS, 'a')
    client.acks(ENDPOINTS)
    client.nacks(CLUSTER, 'bad')
    client.receives(ROUTE, 'r')
  })

  it('sends secrets although a cluster waits for them', () => {
    const ads = new Ads()
    ads.sends({ clusters: ['a'], secrets: ['s'] })
    const client = new Client(ads)
    client.asks(CLUSTER)
    client.receives(CLUSTER, 'a')
    client.asks(SECRET, 's')
    client.receives(SECRET, 's')
  })

  it('merges what changes while an answer is under way', () => {
    const ads = new Ads()
    ads.sends(first)
    const client = new Client(ads)
    client.startsWith(['a'], ['l'], ['r'])
    ads.sends({ ...first, endpoints: ['a:2'] })
    ads.sends({ ...first, endpoints: ['a:3'] })
    ads.sends({ ...first, endpoints: ['a:4'] })
    const two = client.receives(ENDPOINTS, 'a')
    client.receivesNothing()
    client.acks(ENDPOINTS)
    expect(client.receives(ENDPOINTS, 'a').version).not.toBe(two.version)
    client.acks(ENDPOINTS)
    client.receivesNothing()
  })
})

describe('removed clusters', () => {
  const moved: Config = { ...first, clusters: ['b'], endpoints: ['b'], routes: ['r:2'] }

  function moving(): { ads: Ads; client: Client } {
    const ads = new Ads()
    ads.sends(first)
    const client = new Client(ads)
    client.startsWith(['a'], ['l'], ['r'])
    ads.sends(moved)
    client.receives(CLUSTER, 'b', 'a')
    client.asks(ENDPOINTS, 'a', 'b')
    client.receives(ENDPOINTS, 'b')
    client.acks(ENDPOINTS, CLUSTER)
    client.receives(ROUTE, 'r')
    client.receivesNothing()
    return { ads, client }
  }

  it('go after the routes that no longer use them were accepted', () => {
    const { client } = moving()
    client.acks(ROUTE)
    client.receives(CLUSTER, 'b')
    client.acks(CLUSTER)
    client.receivesNothing()
  })

  it('go after 5 s when the client says nothing about the routes', () => {
    const { client } = moving()
    jest.advanceTimersByTime(4900)
    client.receivesNothing()
    jest.advanceTimersByTime(200)
    client.receives(CLUSTER, 'b')
  })

  it('stay while the client refuses the routes, and go with the next good ones', () => {
    const { ads, client } = moving()
    client.nacks(ROUTE, 'bad')
    jest.advanceTimersByTime(60_000)
    client.receivesNothing()
    ads.sends({ ...moved, routes: ['r:3'] })
    client.receives(ROUTE, 'r')
    client.acks(ROUTE)
    client.receives(CLUSTER, 'b')
  })

  it('stay when they come back in the meantime', () => {
    const { ads, client } = moving()
    ads.sends({ ...first, clusters: ['a', 'b'], endpoints: ['a', 'b'] })
    client.acks(ROUTE)
    client.receives(ENDPOINTS, 'a')
    client.acks(ENDPOINTS)
    client.receives(ROUTE, 'r')
    client.acks(ROUTE)
    client.receivesNothing()
  })

  it('go at once for a client without routes', () => {
    const ads = new Ads()
    ads.sends(first)
    const client = new Client(ads)
    client.asks(CLUSTER)
    client.receives(CLUSTER, 'a')
    client.acks(CLUSTER)
    ads.sends(moved)
    client.receives(CLUSTER, 'b')
  })
})
