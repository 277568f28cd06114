/** How an API server is reached, and who we are there. Plain data: equal texts mean equal access. */
export interface ClusterAccess {
  /** `https://host:port`, perhaps with a path before `/api`. No slash at the end. */
  readonly server: string
  /** PEM. Absent: the system's authorities. */
  readonly ca?: string
  /** Name in the server's certificate, where it is not the one in `server`. */
  readonly serverName?: string
  readonly insecure: boolean
  readonly token?: string
  /** PEM */
  readonly clientCertificate?: { readonly cert: string; readonly key: string }
  /** The namespace of the kubeconfig's context, or the pod's own. */
  readonly namespace?: string
}

/** No way to an API server is configured, or one that we can't use. */
export class AccessError extends Error {
  readonly code = 'kubernetes-access'
}
