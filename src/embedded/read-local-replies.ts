/** `HttpConnectionManager.local_reply_config`, as far as compiled configurations use it. */
import { type AccessLogFilter, ComparisonFilter_Op as Op } from '../gen/envoy/config/accesslog/v3/accesslog_pb.ts'
import { HeaderMatcherSchema } from '../gen/envoy/config/route/v3/route_components_pb.ts'
import {
  type LocalReplyConfig,
  LocalReplyConfigSchema,
  type ResponseMapper,
  ResponseMapperSchema,
} from '../gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { MetadataMatcherSchema } from '../gen/envoy/type/matcher/v3/metadata_pb.ts'
import { type LogRecord, textFormat } from './access-log.ts'
import { metadataAt } from './cluster.ts'
import { type HeaderEdits, readHeaderEdits } from './header-edits.ts'
import { readData } from './read-cluster.ts'
import type { Problems } from './resource-reader.ts'
import { stringPredicate } from './string-match.ts'

/** What a reply is known by before it is written: the record has the status to be. */
type ReplyPredicate = (record: LogRecord) => boolean

/** Changes replies that are made here. */
export interface ReplyMapper {
  readonly matches: ReplyPredicate
  readonly status: number | undefined
  readonly body: ((record: LogRecord) => string) | undefined
  readonly contentType: string
  readonly headers: HeaderEdits
}

/** The first that matches applies. */
export function readLocalReplies(
  path: string,
  config: LocalReplyConfig | undefined,
  problems: Problems,
): readonly ReplyMapper[] {
  if (config === undefined) return []
  problems.unsupported(path, LocalReplyConfigSchema, config, ['mappers'])
  return config.mappers.map((mapper, index) => readMapper(`${path} › local reply mapper ${index}`, mapper, problems))
}

function readMapper(path: string, mapper: ResponseMapper, problems: Problems): ReplyMapper {
  problems.unsupported(path, ResponseMapperSchema, mapper, [
    'filter',
    'statusCode',
    'bodyFormatOverride',
    'headersToAdd',
  ])
  const format = mapper.bodyFormatOverride
  let body: ReplyMapper['body']
  if (format?.format.case === 'textFormatSource') {
    try {
      body = textFormat(readData(format.format.value) ?? '')
    } catch (error) {
      problems.add(path, error instanceof Error ? error.message : String(error))
    }
  } else if (format !== undefined) problems.add(path, 'only text formats are served')
  return {
    matches: readFilter(path, mapper.filter, problems),
    status: mapper.statusCode,
    body,
    contentType: format?.contentType || 'text/plain',
    headers: readHeaderEdits([], mapper.headersToAdd),
  }
}

function readFilter(path: string, filter: AccessLogFilter | undefined, problems: Problems): ReplyPredicate {
  const specifier = filter?.filterSpecifier
  switch (specifier?.case) {
    case 'statusCodeFilter': {
      const { op, value } = specifier.value.comparison ?? {}
      const wanted = value?.defaultValue ?? 0
      return ({ status }) =>
        op === Op.GE ? status >= wanted : op === Op.LE ? status <= wanted : (status === wanted) === (op !== Op.NE)
    }
    case 'responseFlagFilter': {
      const wanted = new Set(specifier.value.flags)
      return ({ flags }) => flags !== '' && (wanted.size === 0 || flags.split(',').some(flag => wanted.has(flag)))
    }
    case 'andFilter': {
      const all = specifier.value.filters.map(item => readFilter(path, item, problems))
      return record => all.every(matches => matches(record))
    }
    case 'orFilter': {
      const any = specifier.value.filters.map(item => readFilter(path, item, problems))
      return record => any.some(matches => matches(record))
    }
    case 'headerFilter': {
      const { header } = specifier.value
      if (header?.headerMatchSpecifier.case !== 'stringMatch') {
        problems.add(path, 'only a header_filter with string_match is served')
        return () => false
      }
      problems.unsupported(path, HeaderMatcherSchema, header, ['name', 'headerMatchSpecifier'])
      const matches = stringPredicate(header.headerMatchSpecifier.value)
      const name = header.name.toLowerCase()
      return ({ requestHeaders }) => {
        const value = requestHeaders.joined(name)
        return value !== undefined && matches(value)
      }
    }
    case 'metadataFilter': {
      const { matcher, matchIfKeyNotFound = true } = specifier.value
      if (matcher?.value?.matchPattern.case !== 'presentMatch' || matchIfKeyNotFound) {
        problems.add(path, 'only a metadata_filter with present_match, not matching absent keys, is served')
        return () => false
      }
      problems.unsupported(path, MetadataMatcherSchema, matcher, ['filter', 'path', 'value'])
      const keys = matcher.path.map(({ segment }) => segment.value ?? '')
      return ({ metadata }) => metadataAt(metadata, { namespace: matcher.filter, keys }) !== undefined
    }
    default:
      problems.add(path, `filter ${specifier?.case ?? '(none)'} is not served`)
      return () => false
  }
}
