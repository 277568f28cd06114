import type { RouteMatchJson } from '../../gen/envoy/config/route/v3/route_components_pb.ts'
import type { StringMatcherJson } from '../../gen/envoy/type/matcher/v3/string_pb.ts'
import type { ValueMatch } from '../../pipeline/plan.ts'
import type { PathCondition, RouteUnit } from '../rules.ts'

/** All requests on a path, whatever else they have. */
export function pathMatchJson({ type, value }: PathCondition): RouteMatchJson {
  if (type === 'exact') return { path: value }
  if (type === 'regex') return { safeRegex: { regex: value } }
  // Envoy refuses "/" as a path-separated prefix.
  return value === '/' ? { prefix: '/' } : { pathSeparatedPrefix: value }
}

/** The whole match of a unit that needs nothing of the body. */
export function unitMatchJson(unit: RouteUnit): RouteMatchJson {
  const headers = [
    ...(unit.method === undefined ? [] : [{ name: ':method', stringMatch: { exact: unit.method } }]),
    ...unit.headers.map(match => ({ name: match.name, stringMatch: stringMatch(match) })),
  ]
  const queryParameters = unit.query.map(match => ({ name: match.name, stringMatch: stringMatch(match) }))
  return {
    ...pathMatchJson(unit.path),
    ...(headers.length === 0 ? {} : { headers }),
    ...(queryParameters.length === 0 ? {} : { queryParameters }),
  }
}

function stringMatch({ type, value }: ValueMatch): StringMatcherJson {
  return type === 'exact' ? { exact: value } : { safeRegex: { regex: value } }
}
