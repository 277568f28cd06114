import type { HttpRoute, HttpRouteMatch, HttpRouteRule } from '../config/kinds/http-route.ts'
import { keyOf } from '../config/object.ts'
import { compareText } from '../config/problem.ts'
import type { RoutingPlan, ValueMatch } from '../pipeline/plan.ts'
import type { Backend } from './backends.ts'
import { compareAge } from './age.ts'

/** One rule of an HTTPRoute with its references resolved. */
export interface ResolvedRule {
  readonly route: HttpRoute
  readonly index: number
  readonly spec: HttpRouteRule
  /** In the order of `spec.backendRefs`. */
  readonly backends: readonly Backend[]
  /** Clusters of the RequestMirror filters, with their percentages. */
  readonly mirrors: readonly { readonly cluster: string; readonly percent: number }[]
}

export interface PathCondition {
  readonly type: 'exact' | 'regex' | 'prefix'
  /** A prefix has no trailing slash, except `/`. */
  readonly value: string
}

/** One match of one rule: what the Gateway API gives precedence to. */
export interface RouteUnit {
  readonly rule: ResolvedRule
  readonly matchIndex: number
  readonly path: PathCondition
  readonly method: string | undefined
  /** Without the conditions on the model headers. */
  readonly headers: readonly ValueMatch[]
  readonly query: readonly ValueMatch[]
  readonly model: ValueMatch | undefined
  readonly baseModel: ValueMatch | undefined
}

type ModelHeaders = Pick<RoutingPlan, 'modelHeader' | 'baseModelHeader'>

/** The units of a rule; a rule without matches has one for every path. */
export function unitsOf(rule: ResolvedRule, routing: ModelHeaders): RouteUnit[] {
  const everything: HttpRouteMatch = { path: { type: 'PathPrefix', value: '/' }, headers: [], queryParams: [] }
  const { matches = [] } = rule.spec
  return (matches.length === 0 ? [everything] : matches).map((match, matchIndex) => {
    const headers = firstOfEachName(match.headers, name => name.toLowerCase())
    const isModel = (header: ValueMatch): boolean => header.name === routing.modelHeader
    const isBaseModel = (header: ValueMatch): boolean => header.name === routing.baseModelHeader
    return {
      rule,
      matchIndex,
      path: pathCondition(match.path),
      method: match.method,
      headers: headers.filter(header => !isModel(header) && !isBaseModel(header)),
      query: firstOfEachName(match.queryParams, name => name),
      model: headers.find(isModel),
      baseModel: headers.find(isBaseModel),
    }
  })
}

/** Of several conditions on one name the first counts (Gateway API). */
function firstOfEachName(matches: HttpRouteMatch['headers'], normalise: (name: string) => string): ValueMatch[] {
  const result = new Map<string, ValueMatch>()
  for (const { type, name, value } of matches) {
    const key = normalise(name)
    if (!result.has(key)) result.set(key, { name: key, type: type === 'Exact' ? 'exact' : 'regex', value })
  }
  return [...result.values()]
}

function pathCondition({ type, value }: HttpRouteMatch['path']): PathCondition {
  if (type === 'Exact') return { type: 'exact', value }
  if (type === 'RegularExpression') return { type: 'regex', value }
  return { type: 'prefix', value: value.length > 1 && value.endsWith('/') ? value.slice(0, -1) : value }
}

/** Everything on its path, or some of it only? */
export function isUnconditional(unit: RouteUnit): boolean {
  return (
    unit.method === undefined &&
    unit.headers.length === 0 &&
    unit.query.length === 0 &&
    unit.model === undefined &&
    unit.baseModel === undefined
  )
}

const PATH_RANK = { exact: 0, regex: 1, prefix: 2 } as const

function comparePaths(a: PathCondition, b: PathCondition): number {
  return PATH_RANK[a.type] - PATH_RANK[b.type] || b.value.length - a.value.length || compareText(a.value, b.value)
}

const headerCount = (unit: RouteUnit): number =>
  unit.headers.length + Number(unit.model !== undefined) + Number(unit.baseModel !== undefined)

/** Gateway API precedence: path, method, number of headers, of query parameters, oldest route, its name, place in it. */
function compareUnits(a: RouteUnit, b: RouteUnit): number {
  const [routeA, routeB] = [a.rule.route, b.rule.route]
  return (
    comparePaths(a.path, b.path) ||
    Number(a.method === undefined) - Number(b.method === undefined) ||
    headerCount(b) - headerCount(a) ||
    b.query.length - a.query.length ||
    compareAge(routeA.metadata.creationTimestamp, routeB.metadata.creationTimestamp) ||
    compareText(keyOf(routeA), keyOf(routeB)) ||
    a.rule.index - b.rule.index ||
    a.matchIndex - b.matchIndex
  )
}

/** The units with one path condition, in precedence order. */
export interface PathGroup {
  readonly path: PathCondition
  readonly units: readonly RouteUnit[]
}

/** Groups in the order in which their paths are tried. */
export function groupByPath(units: readonly RouteUnit[]): PathGroup[] {
  const groups = new Map<string, { path: PathCondition; units: RouteUnit[] }>()
  for (const unit of [...units].sort(compareUnits)) {
    const key = `${unit.path.type} ${unit.path.value}`
    const group = groups.get(key)
    if (group === undefined) groups.set(key, { path: unit.path, units: [unit] })
    else group.units.push(unit)
  }
  return [...groups.values()]
}

/** A unit as it is tried for the requests of a group. */
export interface Candidate {
  readonly unit: RouteUnit
  /** The group's paths don't imply the unit's: it has to be looked at again. */
  readonly checkPath: boolean
}

/**
 * All that a request on `path` may be decided by, first match first: the group's own units, then those of the groups that it
 * falls through to. Ends with the first unit that lets nothing fall through.
 *
 * A regular expression group falls through to the prefix groups only, not to other regular expressions: whether two of them
 * overlap can't be told. An exact path is tried against them.
 */
export function candidatesFor(path: PathCondition, groups: readonly PathGroup[]): Candidate[] {
  const result: Candidate[] = []
  for (const group of groups) {
    const relation = relationOf(path, group.path)
    if (relation === 'apart') continue
    const checkPath = relation === 'overlaps'
    for (const unit of group.units) {
      result.push({ unit, checkPath })
      if (!checkPath && isUnconditional(unit)) return result
    }
  }
  return result
}

/** How the paths of `wider` stand to those of `path`. */
function relationOf(path: PathCondition, wider: PathCondition): 'implied' | 'overlaps' | 'apart' {
  if (path.type === wider.type && path.value === wider.value) return 'implied'
  if (wider.type === 'exact') return 'apart'
  if (wider.type === 'regex') {
    if (path.type !== 'exact') return 'apart'
    return new RegExp(`^(?:${wider.value})$`, 'u').test(path.value) ? 'implied' : 'apart'
  }
  if (wider.value === '/') return 'implied'
  if (path.type === 'regex') return 'overlaps'
  return isUnder(path.value, wider.value) ? 'implied' : 'apart'
}

/** PathPrefix semantics: whole segments. */
function isUnder(path: string, prefix: string): boolean {
  return prefix === '/' || path === prefix || path.startsWith(`${prefix}/`)
}
