import { pickerServices } from './pool.ts'
import { EXT_PROC_PORT, HEALTH_PORT, type Manifest, METRICS_PORT } from './manifest.ts'
import { peerArgs, peerManifests, peerMounts, peerPorts } from './peers.ts'
import { pickerConfigArgs, pickerConfigMaps, pickerConfigMounts } from './picker-config.ts'
import { disruptionBudgets, leaseRules, strategy } from './leader.ts'
import type { ManifestValues } from './values.ts'

/** `--drain-timeout` and the time of open streams, with something to spare. */
const GRACE_S = 130

/** The picker itself: account, rights, replicas and the Service that gateways call. */
export function deployment(values: ManifestValues, args: readonly string[]): Manifest[] {
  const { name, namespace, image, replicas } = values
  const labels = { 'app.kubernetes.io/name': 'signalbox', 'app.kubernetes.io/instance': name }
  const metadata = { name, namespace, labels }
  const mounts = [...pickerConfigMounts(values), ...peerMounts(values)]
  const probe = (service: string, periodSeconds: number) => ({ grpc: { port: HEALTH_PORT, service }, periodSeconds })
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    ...rights(values, labels),
    ...pickerConfigMaps(values, labels),
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas,
        selector: { matchLabels: labels },
        strategy: strategy(values),
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: name,
            terminationGracePeriodSeconds: GRACE_S,
            securityContext: { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } },
            topologySpreadConstraints: [
              {
                maxSkew: 1,
                topologyKey: 'kubernetes.io/hostname',
                whenUnsatisfiable: 'ScheduleAnyway',
                labelSelector: { matchLabels: labels },
              },
            ],
            containers: [
              {
                name: 'epp',
                image,
                args: ['epp', ...args, ...pickerConfigArgs(values), ...peerArgs(values)],
                env: [{ name: 'NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } }],
                ports: [
                  { name: 'grpc-ext-proc', containerPort: EXT_PROC_PORT },
                  { name: 'grpc-health', containerPort: HEALTH_PORT },
                  { name: 'metrics', containerPort: METRICS_PORT },
                  ...peerPorts(values),
                ],
                readinessProbe: probe('readiness', 2),
                livenessProbe: probe('liveness', 10),
                resources: { requests: { cpu: '1', memory: '256Mi' }, limits: { memory: '1Gi' } },
                securityContext: {
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ['ALL'] },
                },
                ...(mounts.length === 0
                  ? {}
                  : {
                      volumeMounts: mounts.map(({ name: of, path }) => ({ name: of, mountPath: path, readOnly: true })),
                    }),
              },
            ],
            ...(mounts.length === 0
              ? {}
              : { volumes: mounts.map(({ name: of, source }) => ({ name: of, ...source })) }),
          },
        },
      },
    },
    ...pickerServices(values).map(service => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...metadata, name: service },
      spec: {
        selector: labels,
        ports: [
          { name: 'grpc-ext-proc', port: EXT_PROC_PORT, targetPort: EXT_PROC_PORT, appProtocol: 'http2' },
          { name: 'metrics', port: METRICS_PORT, targetPort: METRICS_PORT, appProtocol: 'http' },
        ],
      },
    })),
    ...peerManifests(values, labels),
    ...disruptionBudgets(values, labels),
  ]
}

function rights(values: ManifestValues, labels: Readonly<Record<string, string>>): Manifest[] {
  const { name, namespace } = values
  const metadata = { name, namespace, labels }
  const subjects = [{ kind: 'ServiceAccount', name, namespace }]
  const follow = (apiGroups: readonly string[], resources: readonly string[]) => ({
    apiGroups,
    resources,
    verbs: ['list', 'watch'],
  })
  return [
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata,
      rules: [
        follow([''], ['pods']),
        follow(['inference.networking.k8s.io'], ['inferencepools']),
        follow(
          ['inference.networking.x-k8s.io', 'llm-d.ai'],
          ['inferencepools', 'inferenceobjectives', 'inferencemodelrewrites'],
        ),
        ...leaseRules(values),
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
      subjects,
    },
    {
      // To ask who may read metrics.
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: `${namespace}-${name}-auth-delegator`, labels },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:auth-delegator' },
      subjects,
    },
  ]
}
