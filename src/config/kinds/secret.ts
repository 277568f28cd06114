import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { kindSchema } from './common.ts'

/** Secret (v1). Only `kubernetes.io/tls` is used: `tls.crt` and `tls.key`, PEM. */
export const secretSchema = kindSchema({
  type: z.string().default('Opaque'),
  data: z.record(z.string(), z.base64({ error: 'must be base64' })).default({}),
  stringData: z.record(z.string(), z.string()).default({}),
  immutable: z.boolean().optional(),
}).transform(({ data, stringData, ...rest }) => {
  const decoded: Record<string, string> = {}
  for (const [key, value] of Object.entries(data)) decoded[key] = Buffer.from(value, 'base64').toString('utf8')
  return { ...rest, data: { ...decoded, ...stringData } }
})

/** `data` is decoded, and `stringData` merged into it. */
export type Secret = KindObject<'Secret', { readonly type: string; readonly data: Readonly<Record<string, string>> }>
