/** A Kubernetes object, as it is written. */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown }
  readonly [field: string]: unknown
}

export const EXT_PROC_PORT = 9002
export const HEALTH_PORT = 9003
export const METRICS_PORT = 9090
/** Where replicas tell each other what they do. */
export const PEER_PORT = 9005
