/** A Kubernetes object, as it is written. */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown }
  readonly [field: string]: unknown
}

/** A folder of the container, read-only, and what it is filled with. */
export interface Mount {
  readonly name: string
  readonly path: string
  readonly source: Readonly<Record<string, object>>
}

export const EXT_PROC_PORT = 9002
export const HEALTH_PORT = 9003
export const METRICS_PORT = 9090
/** Where replicas tell each other what they do. */
export const PEER_PORT = 9005
