import { createHash } from 'node:crypto'
import type { IncomingMessage } from '../extproc/decode-request.ts'
import { attributeString } from '../extproc/metadata.ts'
import type { GatewayPool } from './gateway-streams.ts'

/** Attributes that a gateway's filter may ask Envoy for (`request_attributes`), each a CEL expression that is its own name. */
const CLUSTER = 'xds.cluster_name'
const ROUTE_METADATA = [
  'xds.route_metadata.filter_metadata["signalbox.dev"].pool',
  'xds.route_metadata.filter_metadata["signalbox.dev"]["pool"]',
]
const LONGEST_SERVICE_NAME = 63
/** What `istioService` makes. */
const POOL_SERVICE = /-ip-[0-9a-f]{8}$/

/** A pool is named, and we do not serve it. */
export const NOT_HERE = 'not-here'

/** Pools by what Envoy tells of the request: metadata of its route, or the cluster that was chosen, also one of a route's weighted ones. */
export class NamedPools {
  readonly #byName = new Map<string, GatewayPool>()
  /** `name.namespace` of the Service that Istio makes of the pool. */
  readonly #byService = new Map<string, GatewayPool>()

  constructor(pools: readonly GatewayPool[]) {
    for (const pool of pools) {
      const [namespace = '', name = ''] = pool.plan.pool.split('/')
      this.#byName.set(pool.plan.pool, pool)
      this.#byService.set(`${istioService(name)}.${namespace}`, pool)
    }
  }

  /** Undefined: there are no such attributes, or the cluster is not one of a pool. */
  find({ bytes, attributesStart, attributesEnd }: IncomingMessage): GatewayPool | typeof NOT_HERE | undefined {
    if (bytes === undefined || attributesStart < 0) return undefined
    for (const attribute of ROUTE_METADATA) {
      const name = attributeString(bytes, attributesStart, attributesEnd, attribute)
      if (name !== undefined) return this.#byName.get(name) ?? NOT_HERE
    }
    const cluster = attributeString(bytes, attributesStart, attributesEnd, CLUSTER)
    // Istio's `outbound|port|subset|host`.
    const [name, namespace] = cluster?.split('|')[3]?.split('.') ?? []
    if (name === undefined || namespace === undefined) return undefined
    return this.#byService.get(`${name}.${namespace}`) ?? (POOL_SERVICE.test(name) ? NOT_HERE : undefined)
  }
}

/** Istio's name for what it makes of a pool: `pool-ip-` and 8 digits of a hash, the pool's name cut where that were too long. */
export function istioService(pool: string): string {
  const end = `-ip-${createHash('sha256').update(pool).digest('hex').slice(0, 8)}`
  return `${pool.slice(0, LONGEST_SERVICE_NAME - end.length)}${end}`
}
