import type { BootstrapJson } from '../gen/envoy/config/bootstrap/v3/bootstrap_pb.ts'
import type { RetryPolicyJson } from '../gen/envoy/config/core/v3/base_pb.ts'
import { grpcCluster, parseHostPort, type Upstream } from './envoy/clusters.ts'
import { OVER_ADS } from './envoy/json.ts'
import { XDS_CLUSTER } from './names.ts'

export interface BootstrapOptions {
  /** Envoy refuses to start on ADS without both. */
  readonly nodeId: string
  readonly cluster: string
  /** Our xDS server. */
  readonly xds: Upstream
  /** `host:port` of Envoy's admin interface; absent: none. */
  readonly admin?: string
}

/** An Envoy that is started first has its configuration soon after Signalbox is there; Envoy's own back-off goes up to 30 s. */
const RETRY: RetryPolicyJson = { retryBackOff: { baseInterval: '0.250s', maxInterval: '2s' } }

/** The configuration of an Envoy that knows nothing but where Signalbox is. Worker threads are a command line option. */
export function compileBootstrap(options: BootstrapOptions): BootstrapJson {
  const { host, port } = options.admin === undefined ? { host: '', port: 0 } : parseHostPort(options.admin)
  return {
    node: { id: options.nodeId, cluster: options.cluster },
    ...(options.admin === undefined
      ? {}
      : { admin: { address: { socketAddress: { address: host, portValue: port } } } }),
    dynamicResources: {
      adsConfig: {
        apiType: 'GRPC',
        transportApiVersion: 'V3',
        setNodeOnFirstMessageOnly: true,
        grpcServices: [{ envoyGrpc: { clusterName: XDS_CLUSTER, retryPolicy: RETRY } }],
      },
      cdsConfig: OVER_ADS,
      ldsConfig: OVER_ADS,
    },
    staticResources: { clusters: [grpcCluster(XDS_CLUSTER, options.xds)] },
    layeredRuntime: {
      layers: [
        {
          name: 'signalbox',
          staticLayer: {
            // Ends ext_proc streams that we have ended without a reset.
            'envoy.reloadable_features.ext_proc_graceful_grpc_close': true,
          },
        },
      ],
    },
  }
}
