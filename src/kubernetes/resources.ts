import { KINDS } from '../config/kinds/registry.ts'

/** A resource of the API server: where its collection is found, and which kind its objects are. */
export interface Resource {
  /** Empty: core. */
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
}

export const PODS: Resource = { group: '', version: 'v1', kind: 'Pod', plural: 'pods' }

const INFERENCE = 'inference.networking.k8s.io'
const INFERENCE_ALPHA = 'inference.networking.x-k8s.io'
const LLM_D = 'llm-d.ai'

/** Of equal kind and name the first wins: the newer groups stand before the older. */
const FOLLOWED: readonly Resource[] = [
  { group: INFERENCE, version: 'v1', kind: 'InferencePool', plural: 'inferencepools' },
  { group: INFERENCE_ALPHA, version: 'v1alpha2', kind: 'InferencePool', plural: 'inferencepools' },
  { group: LLM_D, version: 'v1alpha2', kind: 'InferenceModelRewrite', plural: 'inferencemodelrewrites' },
  { group: INFERENCE_ALPHA, version: 'v1alpha2', kind: 'InferenceModelRewrite', plural: 'inferencemodelrewrites' },
  { group: LLM_D, version: 'v1alpha2', kind: 'InferenceObjective', plural: 'inferenceobjectives' },
  { group: INFERENCE_ALPHA, version: 'v1alpha2', kind: 'InferenceObjective', plural: 'inferenceobjectives' },
]

/** What is followed besides pods: the kinds that the configuration can read. */
export const RESOURCES: readonly Resource[] = FOLLOWED.filter(resource =>
  KINDS.has(`${apiVersionOf(resource)}/${resource.kind}`),
)

/** `v1`, `llm-d.ai/v1alpha2` */
export function apiVersionOf({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`
}

/** For logs and metrics: `pods`, `inferencepools.inference.networking.k8s.io`. */
export function resourceName({ group, plural }: Resource): string {
  return group === '' ? plural : `${plural}.${group}`
}

/** The path of the collection, in one namespace or in all. */
export function collectionPath(resource: Resource, namespace: string | undefined): string {
  const root = resource.group === '' ? '/api' : '/apis'
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`
  return `${root}/${apiVersionOf(resource)}${scope}/${resource.plural}`
}
