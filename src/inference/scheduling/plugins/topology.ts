import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import { filterType, type SettingType, scorerType } from './plugin-type.ts'

const LEVELS = ['host', 'rack', 'zone', 'region'] as const
/** What an endpoint of the same host, rack, zone, region scores: about how the bandwidth of moving a KV cache falls. */
const SCORES = [1, 0.2, 0.05, 0.02] as const

const labelParameters = object({
  hostname: z.string().min(1).default('kubernetes.io/hostname'),
  rack: z.string().min(1).default('topology.kubernetes.io/rack'),
  zone: z.string().min(1).default('topology.kubernetes.io/zone'),
  region: z.string().min(1).default('topology.kubernetes.io/region'),
})
type Labels = z.output<typeof labelParameters>

/** Labels that say where an endpoint is (epp.md §3.13). Without one, no endpoint is known to be anywhere. */
export const topologyExtractor: SettingType = {
  type: 'topology-extractor',
  role: 'producer',
  parameters: labelParameters,
}

const shared = {
  topologyProducerName: z.string().optional(),
  /** Those of the extractor: the compiler writes them here. */
  labels: labelParameters.optional(),
}

/** Where the endpoints are: looked at when they change, not for each pick. */
class Topology {
  readonly #labels: readonly string[]
  /** For each level: by slot a number per place; 0 = not known. */
  #places: Int32Array[] = []

  constructor(labels: Labels | undefined) {
    this.#labels = labels === undefined ? [] : [labels.hostname, labels.rack, labels.zone, labels.region]
  }

  adopt(table: EndpointTable): void {
    this.#places = this.#labels.map(label => {
      const numbers = new Map<string, number>()
      const places = new Int32Array(table.capacity)
      for (let i = 0; i < table.liveCount; i++) {
        const place = table.labels(table.live[i]!)?.[label] ?? ''
        if (place === '') continue
        let number = numbers.get(place)
        if (number === undefined) numbers.set(place, (number = numbers.size + 1))
        places[table.live[i]!] = number
      }
      return places
    })
  }

  /** Index of the nearest level that both share; `LEVELS.length`: none. What is not known is nowhere. */
  common(a: number, b: number): number {
    for (let level = 0; level < this.#places.length; level++) {
      const places = this.#places[level]!
      if (places[a] !== 0 && places[a] === places[b]) return level
    }
    return LEVELS.length
  }
}

/**
 * Keeps endpoints at least as near as `minAffinity` to the one that an earlier profile chose (decode, before prefill); all, where
 * there is no such choice, nothing is known of its place, or none is near (epp.md §3.2).
 */
export const topologyAffinityFilter = filterType(
  'topology-affinity-filter',
  object({ minAffinity: z.enum(LEVELS).default('host'), ...shared }),
  ({ minAffinity, labels }) => {
    const topology = new Topology(labels)
    const floor = LEVELS.indexOf(minAffinity)
    return {
      type: 'topology-affinity-filter',
      adopt: table => topology.adopt(table),
      filter({ count, slots, peer }, _table, kept) {
        let any = 0
        for (let i = 0; i < count; i++) any |= kept[i] = peer >= 0 && topology.common(peer, slots[i]!) <= floor ? 1 : 0
        if (any === 0) kept.fill(1, 0, count)
      },
    }
  },
)

/** By the nearest place that the endpoint shares with an earlier profile's choice: host 1, rack 0.2, zone 0.05, region 0.02, else 0. */
export const topologyAffinityScorer = scorerType('topology-affinity-scorer', object(shared), ({ labels }) => {
  const topology = new Topology(labels)
  return {
    type: 'topology-affinity-scorer',
    adopt: table => topology.adopt(table),
    score({ count, slots, peer }, _table, out) {
      for (let i = 0; i < count; i++) out[i] = peer < 0 ? 0 : (SCORES[topology.common(peer, slots[i]!)] ?? 0)
    },
  }
})
