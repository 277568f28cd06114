import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema } from './common.ts'

/** ConfigMaps with this label, value `"true"`, map LoRA adapters to base models; all others are ignored. */
export const BBR_LABEL = 'inference.networking.k8s.io/bbr-managed'

/** ConfigMap (v1). The meaning of `data` is checked by the reader of it (`compile`). */
export const configMapSchema = kindSchema({
  data: z.record(z.string(), z.string()).default({}),
  binaryData: z.unknown().optional(),
  immutable: z.boolean().optional(),
})

export type ConfigMap = KindObject<'ConfigMap', { readonly data: Readonly<Record<string, string>> }>
