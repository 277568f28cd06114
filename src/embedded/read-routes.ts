/** Envoy route configurations, read into tables. */
import type { JsonObject } from '@bufbuild/protobuf'
import {
  type HeaderMatcher,
  type QueryParameterMatcher,
  type Route,
  type RouteMatch,
  RouteMatchSchema,
  RouteSchema,
  type VirtualHost,
  VirtualHostSchema,
} from '../gen/envoy/config/route/v3/route_components_pb.ts'
import { type RouteConfiguration, RouteConfigurationSchema } from '../gen/envoy/config/route/v3/route_pb.ts'
import { readHeaderEdits } from './header-edits.ts'
import { readForward, readRedirect } from './read-route-action.ts'
import { readPerRoute } from './read-per-route.ts'
import { readDirectResponse } from './read-direct-response.ts'
import { pathOf, type Problems, readResource } from './resource-reader.ts'
import type { RouteAction, RouteEntry, RouteRequest, RouteTable, VirtualHostTable } from './route-table.ts'
import { regexOf, stringPredicate, type StringPredicate } from './string-match.ts'

type Predicate = (request: RouteRequest) => boolean

export function readRouteTables(configurations: readonly JsonObject[], problems: Problems): Map<string, RouteTable> {
  const tables = new Map<string, RouteTable>()
  for (const json of configurations) {
    const path = pathOf('routes', json['name'])
    const configuration = readResource(path, RouteConfigurationSchema, json, problems)
    if (configuration !== undefined) tables.set(configuration.name, readRouteTable(path, configuration, problems))
  }
  return tables
}

export function readRouteTable(path: string, configuration: RouteConfiguration, problems: Problems): RouteTable {
  problems.unsupported(path, RouteConfigurationSchema, configuration, [
    'name',
    'virtualHosts',
    'requestHeadersToAdd',
    'requestHeadersToRemove',
    'responseHeadersToAdd',
    'responseHeadersToRemove',
    'ignorePortInHostMatching',
    'typedPerFilterConfig',
    'validateClusters',
    'maxDirectResponseBodySizeBytes',
    'metadata',
    'mostSpecificHeaderMutationsWins',
  ])
  return {
    name: configuration.name,
    ignorePort: configuration.ignorePortInHostMatching,
    hosts: configuration.virtualHosts.map(host => readHost(path, configuration, host, problems)),
  }
}

function readHost(
  parent: string,
  configuration: RouteConfiguration,
  host: VirtualHost,
  problems: Problems,
): VirtualHostTable {
  const path = `${parent} › ${host.name}`
  problems.unsupported(path, VirtualHostSchema, host, [
    'name',
    'domains',
    'routes',
    'requestHeadersToAdd',
    'requestHeadersToRemove',
    'responseHeadersToAdd',
    'responseHeadersToRemove',
    'typedPerFilterConfig',
    'retryPolicy',
    'requestBodyBufferLimit',
    'metadata',
  ])
  const routes = host.routes.map((route, index) =>
    readRoute(`${path} › ${route.name === '' ? index : route.name}`, configuration, host, route, problems),
  )
  return {
    name: host.name,
    domains: host.domains.map(domain => domain.toLowerCase()),
    routes: routes.filter(route => route !== undefined),
  }
}

function readRoute(
  path: string,
  configuration: RouteConfiguration,
  host: VirtualHost,
  route: Route,
  problems: Problems,
): RouteEntry | undefined {
  problems.unsupported(path, RouteSchema, route, [
    'name',
    'match',
    'action',
    'requestHeadersToAdd',
    'requestHeadersToRemove',
    'responseHeadersToAdd',
    'responseHeadersToRemove',
    'typedPerFilterConfig',
    'requestBodyBufferLimit',
    'metadata',
    'decorator',
    'statPrefix',
  ])
  const levels = [configuration, host, route]
  try {
    const action = readAction(path, host, route, problems)
    if (action === undefined) return undefined
    const limit = route.requestBodyBufferLimit ?? host.requestBodyBufferLimit
    return {
      name: route.name,
      virtualHost: host.name,
      matches: readMatch(path, route.match, problems),
      action,
      requestEdits: levels.map(level => readHeaderEdits(level.requestHeadersToRemove, level.requestHeadersToAdd)),
      responseEdits: levels.map(level => readHeaderEdits(level.responseHeadersToRemove, level.responseHeadersToAdd)),
      extProc: levels.flatMap(level => readPerRoute(path, level.typedPerFilterConfig, problems)),
      bodyBufferLimit: limit === undefined ? undefined : Number(limit),
    }
  } catch (error) {
    problems.add(path, error instanceof Error ? error.message : String(error))
    return undefined
  }
}

function readAction(path: string, host: VirtualHost, route: Route, problems: Problems): RouteAction | undefined {
  const { action } = route
  if (action.case === 'directResponse') return readDirectResponse(path, action.value, problems)
  if (action.case === 'redirect') return readRedirect(path, action.value, route.match, problems)
  if (action.case === 'route') return readForward(path, action.value, route.match, host.retryPolicy, problems)
  problems.add(path, 'a route without an action that is served')
  return undefined
}

function readMatch(path: string, match: RouteMatch | undefined, problems: Problems): Predicate {
  if (match === undefined) return () => true
  problems.unsupported(path, RouteMatchSchema, match, ['pathSpecifier', 'caseSensitive', 'headers', 'queryParameters'])
  const predicates = [
    pathPredicate(path, match, problems),
    ...match.headers.map(headerPredicate),
    ...match.queryParameters.map(queryPredicate),
  ]
  return request => predicates.every(predicate => predicate(request))
}

function pathPredicate(path: string, match: RouteMatch, problems: Problems): Predicate {
  const specifier = match.pathSpecifier
  const sensitive = match.caseSensitive ?? true
  const fold = (text: string): string => (sensitive ? text : text.toLowerCase())
  if (specifier.case === 'safeRegex') {
    const regex = regexOf(specifier.value, true)
    return request => regex.test(request.path)
  }
  if (specifier.case === 'prefix') {
    const prefix = fold(specifier.value)
    return request => fold(request.path).startsWith(prefix)
  }
  if (specifier.case === 'path') {
    const exact = fold(specifier.value)
    return request => fold(request.path) === exact
  }
  if (specifier.case === 'pathSeparatedPrefix') {
    const prefix = fold(specifier.value)
    return request => {
      const text = fold(request.path)
      return text.startsWith(prefix) && (text.length === prefix.length || text[prefix.length] === '/')
    }
  }
  problems.add(path, `path match ${specifier.case ?? 'nothing'} is not served`)
  return () => false
}

function headerPredicate(matcher: HeaderMatcher): Predicate {
  const name = matcher.name.toLowerCase()
  const test = headerValuePredicate(matcher)
  return ({ headers }) => {
    const value =
      headers.joined(name === 'host' ? ':authority' : name) ?? (matcher.treatMissingHeaderAsEmpty ? '' : undefined)
    if (matcher.headerMatchSpecifier.case === 'presentMatch')
      return ((value !== undefined) === matcher.headerMatchSpecifier.value) !== matcher.invertMatch
    // A missing header matches nothing, inverted or not, except that an inverted match of nothing holds.
    if (value === undefined) return matcher.invertMatch
    return test(value) !== matcher.invertMatch
  }
}

function headerValuePredicate(matcher: HeaderMatcher): StringPredicate {
  const specifier = matcher.headerMatchSpecifier
  if (specifier.case === 'stringMatch') return stringPredicate(specifier.value)
  if (specifier.case !== 'rangeMatch') return () => true
  const { start, end } = specifier.value
  return value => /^-?\d+$/.test(value) && BigInt(value) >= start && BigInt(value) < end
}

function queryPredicate(matcher: QueryParameterMatcher): Predicate {
  const specifier = matcher.queryParameterMatchSpecifier
  if (specifier.case === 'stringMatch') {
    const test = stringPredicate(specifier.value)
    return ({ query }) => {
      const value = query.get(matcher.name)
      return value !== null && test(value)
    }
  }
  const wanted = specifier.case === 'presentMatch' ? specifier.value : true
  return ({ query }) => query.has(matcher.name) === wanted
}
