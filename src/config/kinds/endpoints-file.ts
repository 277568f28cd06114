import { isIP } from 'node:net'
import { z } from 'zod'
import type { KindObject } from '../object.ts'
import { labels, object, port } from './common.ts'

const name = z.string().min(1)

/** The file of llm-d's `file-discovery` (docs/plug-ins.md): it has neither apiVersion nor kind. */
export const endpointsFileSchema = object({
  /** With nothing after the colon: there are none. */
  endpoints: z
    .array(
      object({
        name,
        namespace: name.default('default'),
        address: z.string().refine(text => isIP(text) !== 0, 'must be an IP address'),
        /** A text there; a number will do. */
        port: z
          .union([port, z.string().regex(/^\d{1,5}$/)], 'must be a port, 1 to 65535')
          .transform(Number)
          .refine(number => number >= 1 && number <= 65_535, 'must be a port, 1 to 65535'),
        labels: labels.default({}),
      }),
    )
    .nullable()
    .transform(list => list ?? []),
})

/** What the file source makes of such a file. Its name is the path that the EndpointPickerConfig has, its namespace `default`. */
export type EndpointsFile = KindObject<'EndpointsFile', z.output<typeof endpointsFileSchema>>
