import type { Any } from '@bufbuild/protobuf/wkt'
import {
  type ExtProcPerRoute,
  ExtProcPerRouteSchema,
} from '../gen/envoy/extensions/filters/http/ext_proc/v3/ext_proc_pb.ts'
import { readModes } from './ext-proc-settings.ts'
import { type Problems, unpackAs } from './resource-reader.ts'

/** Overrides of the ext_proc filter; only one filter can be in a chain here, so that the name of its key doesn't matter. */
export function readPerRoute(
  path: string,
  configs: Readonly<Record<string, Any>>,
  problems: Problems,
): ExtProcPerRoute[] {
  return Object.entries(configs).flatMap(([name, any]) => {
    const config = unpackAs(any, ExtProcPerRouteSchema)
    if (config?.override.case === 'overrides')
      readModes(path, config.override.value.processingMode, undefined, problems)
    if (config === undefined) problems.add(path, `typed_per_filter_config of ${name} is not served`)
    return config === undefined ? [] : [config]
  })
}
