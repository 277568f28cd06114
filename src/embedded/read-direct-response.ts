import type { DirectResponseAction } from '../gen/envoy/config/route/v3/route_components_pb.ts'
import { jsonFormat, textFormat } from './access-log.ts'
import { readData } from './read-cluster.ts'
import type { Problems } from './resource-reader.ts'
import type { DirectAction } from './route-table.ts'

/** Throws `SyntaxError` for a format that is not served. */
export function readDirectResponse(path: string, response: DirectResponseAction, problems: Problems): DirectAction {
  const { status, bodyFormat } = response
  const body = readData(response.body) ?? ''
  const contentType =
    bodyFormat === undefined
      ? undefined
      : bodyFormat.contentType || (bodyFormat.format.case === 'jsonFormat' ? 'application/json' : 'text/plain')
  if (bodyFormat?.format.case === 'jsonFormat') {
    const format = jsonFormat(bodyFormat.format.value, bodyFormat.omitEmptyValues)
    return { type: 'direct', status, contentType, body: record => format(record) }
  }
  if (bodyFormat?.format.case === 'textFormatSource')
    return { type: 'direct', status, contentType, body: textFormat(readData(bodyFormat.format.value) ?? '') }
  if (bodyFormat !== undefined) problems.add(path, 'a body_format without a format')
  return { type: 'direct', status, contentType, body: () => body }
}
