import { EXT_PROC_PORT, HEALTH_PORT, type Manifest, METRICS_PORT, type Mount, PEER_PORT } from './manifest.ts'
import type { ManifestValues } from './values.ts'

type Labels = Readonly<Record<string, string>>

const TLS_FOLDER = '/etc/signalbox/peers'
const VOLUME = 'peer-tls'

/** What has replicas tell each other what they do: nothing, where there is one. */
export function peerArgs(values: ManifestValues): string[] {
  const { namespace, replicas, peerTls } = values
  if (replicas < 2) return []
  const files = ['tls.crt', 'tls.key', 'ca.crt'].map(file => `${TLS_FOLDER}/${file}`)
  const place = `dns:${peerService(values)}.${namespace}.svc:${PEER_PORT}`
  const tls = peerTls === undefined ? [] : ['--peer-tls', files.join(',')]
  return ['--peers', place, '--peer-listen', `[::]:${PEER_PORT}`, ...tls]
}

/** Of the container. */
export function peerPorts({ replicas }: ManifestValues) {
  return replicas < 2 ? [] : [{ name: 'grpc-peers', containerPort: PEER_PORT }]
}

/** The Secret with what replicas show each other. */
export function peerMounts({ replicas, peerTls }: ManifestValues): Mount[] {
  if (replicas < 2 || peerTls === undefined) return []
  return [{ name: VOLUME, path: TLS_FOLDER, source: { secret: { secretName: peerTls } } }]
}

/** How replicas find each other, and who else reaches that port: nobody. */
export function peerManifests(values: ManifestValues, labels: Labels): Manifest[] {
  const { name, namespace, replicas } = values
  if (replicas < 2) return []
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: peerService(values), namespace, labels },
      spec: {
        clusterIP: 'None',
        // A replica that isn't ready yet learns from the others what they have placed.
        publishNotReadyAddresses: true,
        selector: labels,
        ports: [{ name: 'grpc-peers', port: PEER_PORT, targetPort: PEER_PORT }],
      },
    },
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name, namespace, labels },
      spec: {
        podSelector: { matchLabels: labels },
        policyTypes: ['Ingress'],
        ingress: [
          { ports: [EXT_PROC_PORT, HEALTH_PORT, METRICS_PORT].map(tcp) },
          { from: [{ podSelector: { matchLabels: labels } }], ports: [tcp(PEER_PORT)] },
        ],
      },
    },
  ]
}

function tcp(port: number) {
  return { protocol: 'TCP', port }
}

function peerService({ name }: ManifestValues): string {
  return `${name}-peers`
}
