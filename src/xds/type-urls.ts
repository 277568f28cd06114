/** Type URLs of the resources that we name ourselves, in the order in which an ADS stream gets them. */
export const TypeUrl = {
  CLUSTER: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  ENDPOINTS: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  LISTENER: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  ROUTE: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  SECRET: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
} as const

const order: readonly string[] = Object.values(TypeUrl)

/** Sort key: make before break, so clusters before the routes that use them. Other types come last. */
export function pushOrder(typeUrl: string): number {
  const index = order.indexOf(typeUrl)
  return index === -1 ? order.length : index
}

/**
 * Listeners and clusters are sent as a whole: absence in a response deletes. Responses of the other types may be partial, and
 * only their clients' interest ends a resource.
 */
export function isFullState(typeUrl: string): boolean {
  return typeUrl === TypeUrl.CLUSTER || typeUrl === TypeUrl.LISTENER
}

/** `envoy.config.cluster.v3.Cluster` of `type.googleapis.com/envoy.config.cluster.v3.Cluster`. */
export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1)
}
