import type { z } from 'zod'
import { configMapSchema, type ConfigMap } from './config-map.ts'
import { type EndpointPickerConfig, endpointPickerConfigSchema } from './endpoint-picker-config.ts'
import type { EndpointsFile } from './endpoints-file.ts'
import { type Gateway, gatewaySchema } from './gateway.ts'
import { type HttpRoute, httpRouteSchema } from './http-route.ts'
import { type InferenceModelRewrite, inferenceModelRewriteSchema } from './inference-model-rewrite.ts'
import { type InferenceObjective, inferenceObjectiveSchema } from './inference-objective.ts'
import { type InferencePool, inferencePoolAlphaSchema, inferencePoolSchema } from './inference-pool.ts'
import type { Pod } from './pod.ts'
import { type ReferenceGrant, referenceGrantSchema } from './reference-grant.ts'
import { type Secret, secretSchema } from './secret.ts'
import { type EndpointSlice, endpointSliceSchema, type Service, serviceSchema } from './service.ts'
import { type SignalboxBackend, signalboxBackendSchema } from './signalbox-backend.ts'
import { type SignalboxParameters, signalboxParametersSchema } from './signalbox-parameters.ts'

export type ConfigObject =
  | ConfigMap
  | EndpointPickerConfig
  | EndpointsFile
  | EndpointSlice
  | Gateway
  | HttpRoute
  | InferenceModelRewrite
  | InferenceObjective
  | InferencePool
  | Pod
  | ReferenceGrant
  | Secret
  | Service
  | SignalboxBackend
  | SignalboxParameters

interface KindReader {
  readonly kind: ConfigObject['kind']
  readonly schema: z.ZodType
}

/** `apiVersion/kind` (core: `v1/kind`) → how it is read. */
export const KINDS: ReadonlyMap<string, KindReader> = new Map<string, KindReader>([
  ['v1/ConfigMap', { kind: 'ConfigMap', schema: configMapSchema }],
  ['v1/Secret', { kind: 'Secret', schema: secretSchema }],
  ['v1/Service', { kind: 'Service', schema: serviceSchema }],
  ['discovery.k8s.io/v1/EndpointSlice', { kind: 'EndpointSlice', schema: endpointSliceSchema }],
  ['gateway.networking.k8s.io/v1/Gateway', { kind: 'Gateway', schema: gatewaySchema }],
  ['gateway.networking.k8s.io/v1/HTTPRoute', { kind: 'HTTPRoute', schema: httpRouteSchema }],
  ['gateway.networking.k8s.io/v1/ReferenceGrant', { kind: 'ReferenceGrant', schema: referenceGrantSchema }],
  ['gateway.networking.k8s.io/v1beta1/ReferenceGrant', { kind: 'ReferenceGrant', schema: referenceGrantSchema }],
  ['inference.networking.k8s.io/v1/InferencePool', { kind: 'InferencePool', schema: inferencePoolSchema }],
  ['inference.networking.x-k8s.io/v1alpha2/InferencePool', { kind: 'InferencePool', schema: inferencePoolAlphaSchema }],
  ['llm-d.ai/v1alpha1/EndpointPickerConfig', { kind: 'EndpointPickerConfig', schema: endpointPickerConfigSchema }],
  [
    'inference.networking.x-k8s.io/v1alpha1/EndpointPickerConfig',
    { kind: 'EndpointPickerConfig', schema: endpointPickerConfigSchema },
  ],
  ['llm-d.ai/v1alpha2/InferenceModelRewrite', { kind: 'InferenceModelRewrite', schema: inferenceModelRewriteSchema }],
  [
    'inference.networking.x-k8s.io/v1alpha2/InferenceModelRewrite',
    { kind: 'InferenceModelRewrite', schema: inferenceModelRewriteSchema },
  ],
  ['llm-d.ai/v1alpha2/InferenceObjective', { kind: 'InferenceObjective', schema: inferenceObjectiveSchema }],
  [
    'inference.networking.x-k8s.io/v1alpha2/InferenceObjective',
    { kind: 'InferenceObjective', schema: inferenceObjectiveSchema },
  ],
  ['signalbox.dev/v1alpha1/SignalboxBackend', { kind: 'SignalboxBackend', schema: signalboxBackendSchema }],
  ['signalbox.dev/v1alpha1/SignalboxParameters', { kind: 'SignalboxParameters', schema: signalboxParametersSchema }],
])

/** Kinds that stand beside ours in people's folders and mean nothing to us: ignored with a warning, in any version. */
export const IGNORED_KINDS: ReadonlySet<string> = new Set([
  'AuthorizationPolicy',
  'ClusterRole',
  'ClusterRoleBinding',
  'CustomResourceDefinition',
  'DaemonSet',
  'Deployment',
  'DestinationRule',
  'EnvoyFilter',
  'GCPBackendPolicy',
  'GatewayClass',
  'HealthCheckPolicy',
  'HorizontalPodAutoscaler',
  'Ingress',
  'Job',
  'Kustomization',
  'LeaderWorkerSet',
  'Namespace',
  'NetworkPolicy',
  'PeerAuthentication',
  'PersistentVolumeClaim',
  'Pod',
  'PodDisruptionBudget',
  'PodMonitor',
  'Role',
  'RoleBinding',
  'ServiceAccount',
  'ServiceMonitor',
  'StatefulSet',
  'VirtualService',
])
