/** Names of llm-d's plug-in types that need a word of their own (epp.md §3). */

/** Former name → the name that it has now. */
export const DEPRECATED_TYPES: ReadonlyMap<string, string> = new Map([
  ['by-label', 'label-selector-filter'],
  ['by-label-selector', 'label-selector-filter'],
  ['prefill-header-handler', 'disagg-headers-handler'],
  ['tokenizer', 'token-producer'],
])

/** Types of llm-d's stability Alpha; all others are Beta. */
export const ALPHA_TYPES: ReadonlySet<string> = new Set([
  'agent-identity',
  'burst-prefix-cache-producer',
  'dcgm-data-source',
  'dcgm-extractor',
  'disaggregatedset-rollout-screener',
  'endpoint-attribute-filter',
  'endpoint-attribute-scorer',
  'header-label-affinity-scorer',
  'p2p-source-producer',
  'priority-then-time-eviction-order-policy',
  'session-affinity-filter',
  'session-affinity-scorer',
  'sheddable-eviction-filter',
  'soft-reflective-ceiling-policy',
  'topology-affinity-filter',
  'topology-affinity-scorer',
  'topology-extractor',
  'utilization-filter',
])

const MULTICLUSTER =
  'types that begin with multicluster- choose among clusters by what an endpoint picker in each says of its pool, and a picked endpoint here is an IP address that is asked itself'

/** Why a type of llm-d is not here; undefined: it is none, or it is here. */
export function leftOut(type: string): string | undefined {
  return type.startsWith('multicluster-') ? MULTICLUSTER : undefined
}
