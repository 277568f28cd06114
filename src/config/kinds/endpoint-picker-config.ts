import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema, object } from './common.ts'
import { flowControlSchema, saturationDetectorSchema } from './flow-control.ts'

const PEERS = 'not supported: replicas of Signalbox exchange what they know by themselves'
const name = z.string().min(1)

const kind = kindSchema({
  featureGates: z.array(z.string().min(1)).default([]),
  plugins: z
    .array(
      object({
        /** Default: the type. */
        name: name.optional(),
        type: name,
        parameters: z.record(z.string(), z.unknown()).default({}),
      }),
    )
    .default([]),
  schedulingProfiles: z
    .array(
      object({
        name,
        plugins: z.array(object({ pluginRef: name, weight: z.number().min(0).max(1_000_000).optional() })).default([]),
      }),
    )
    .default([]),
  flowControl: flowControlSchema.optional(),
  /** Deprecated: `flowControl` has it. */
  saturationDetector: saturationDetectorSchema.optional(),
  requestHandler: object({
    parsers: z
      .array(object({ pluginRef: name }))
      .min(1)
      .optional(),
  }).optional(),
  dataLayer: object(
    {
      /** Without: nothing is read of endpoints but what `sources` says. */
      injectDefaults: z.boolean().default(true),
      sources: z
        .array(object({ pluginRef: name, extractors: z.array(object({ pluginRef: name })).default([]) }))
        .default([]),
      /** Endpoints come from there, and not from what the pool selects. */
      discovery: object({ pluginRef: name }).optional(),
    },
    {
      peerDiscovery: PEERS,
      crossReplicaSyncerPluginRef: PEERS,
      crossReplicaSyncInterval: PEERS,
    },
  ).optional(),
  /** Deprecated: `requestHandler` has them. */
  parser: object({ pluginRef: name }).optional(),
})

/**
 * EndpointPickerConfig (llm-d.ai/v1alpha1): the configuration file of llm-d's endpoint picker (epp.md §2.1). It has no `metadata` there; ours
 * may have, and is `default/default` without. What the plug-ins' types and parameters mean is checked where they are known
 * (src/compile/picker-config.ts).
 */
export const endpointPickerConfigSchema = kind.extend({ metadata: kind.shape.metadata.prefault({ name: 'default' }) })

export type EndpointPickerConfig = KindObject<
  'EndpointPickerConfig',
  Omit<z.output<typeof endpointPickerConfigSchema>, 'apiVersion' | 'kind' | 'metadata' | 'status'>
>
