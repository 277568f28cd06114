import type { ParserPaths } from '../llm/request-apis.ts'
import { pluginType } from '../inference/scheduling/plugins/registry.ts'

/** What a user's own parser claims; nothing: there is none of this type. */
export function ownApis(type: string): readonly ParserPaths[] {
  const parser = pluginType(type)
  if (parser?.role !== 'parser') return []
  return Object.entries(parser.apis ?? {}).map(([suffix, { needsModel = false, name = suffix, required }]) => ({
    suffix,
    api: { name, needsModel, ...(required === undefined ? {} : { required }) },
  }))
}
