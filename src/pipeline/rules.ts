import { RE2JS } from 're2js'
import { type HeaderName, headerName, type HeaderView } from '../extproc/header-view.ts'
import type { RulePlan, TargetPlan, ValueMatch } from './plan.ts'

/** What the rules of an entry look at, beside the headers. */
export interface RuleFacts {
  /** `:path` with its query. */
  path: string
  /** Length of the path without query and fragment. */
  pathEnd: number
  method: string
  headers: HeaderView
  /** undefined: the body names no model (or there is none). */
  model: string | undefined
  baseModel: string | undefined
}

/** A rule ready to be matched. */
export interface LinkedRule {
  readonly plan: RulePlan
  readonly targets: readonly LinkedTarget[]
  readonly totalWeight: number
  /** The one model that the rule is for, where it is for one. */
  readonly exactModel: string | undefined
  readonly conditions: readonly Condition[]
  readonly model: TextMatch | undefined
  readonly baseModel: TextMatch | undefined
}

export interface LinkedTarget {
  readonly plan: TargetPlan
}

type TextMatch = (text: string) => boolean
type Condition = (facts: RuleFacts) => boolean

export function linkRule<T extends LinkedTarget>(
  plan: RulePlan,
  linkTarget: (target: TargetPlan) => T,
): LinkedRule & { readonly targets: readonly T[] } {
  const conditions: Condition[] = []
  const { path, method } = plan
  if (path !== undefined) conditions.push(path.type === 'exact' ? exactPath(path.value) : pathPrefix(path.value))
  if (method !== undefined) conditions.push(facts => facts.method === method)
  for (const header of plan.headers) conditions.push(headerCondition(header))
  for (const parameter of plan.query) conditions.push(queryCondition(parameter))
  const targets = plan.targets.filter(target => target.weight > 0).map(linkTarget)
  return {
    plan,
    targets,
    totalWeight: targets.reduce((sum, target) => sum + target.plan.weight, 0),
    exactModel: plan.model?.type === 'exact' ? plan.model.value : undefined,
    conditions,
    model: plan.model && textMatch(plan.model),
    baseModel: plan.baseModel && textMatch(plan.baseModel),
  }
}

/** All conditions but those on the model. */
export function matchesRequest(rule: LinkedRule, facts: RuleFacts): boolean {
  const { conditions } = rule
  for (let i = 0; i < conditions.length; i++) if (!conditions[i]!(facts)) return false
  return true
}

export function matchesModel(rule: LinkedRule, facts: Pick<RuleFacts, 'model' | 'baseModel'>): boolean {
  if (rule.model !== undefined && (facts.model === undefined || !rule.model(facts.model))) return false
  return rule.baseModel === undefined || (facts.baseModel !== undefined && rule.baseModel(facts.baseModel))
}

/** A target by weight; `random` is in [0, 1). */
export function chooseTarget<T extends LinkedTarget>(
  rule: { readonly targets: readonly T[]; readonly totalWeight: number },
  random: number,
): T | undefined {
  const { targets } = rule
  if (targets.length === 1) return targets[0]
  let left = random * rule.totalWeight
  for (const target of targets) {
    left -= target.plan.weight
    if (left < 0) return target
  }
  return targets[targets.length - 1]
}

function textMatch({ type, value }: ValueMatch): TextMatch {
  if (type === 'exact') return text => text === value
  // RE2 as in Envoy: whole values, and linear time whatever clients send.
  const pattern = RE2JS.compile(value)
  return text => pattern.testExact(text)
}

function headerCondition(match: ValueMatch): Condition {
  const name: HeaderName = headerName(match.name)
  const matches = textMatch(match)
  return ({ headers }) => {
    const value = headers.joined(name)
    return value !== undefined && matches(value)
  }
}

function queryCondition(match: ValueMatch): Condition {
  const matches = textMatch(match)
  return ({ path }) => {
    const value = queryParameter(path, match.name)
    return value !== undefined && matches(value)
  }
}

function exactPath(value: string): Condition {
  return ({ path, pathEnd }) => pathEnd === value.length && path.startsWith(value)
}

/** Gateway API PathPrefix: whole segments; a trailing slash of the prefix is ignored. */
function pathPrefix(prefix: string): Condition {
  const value = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
  const { length } = value
  return ({ path, pathEnd }) =>
    (pathEnd === length || (pathEnd > length && path.charCodeAt(length) === SLASH)) && path.startsWith(value)
}

const SLASH = 0x2f

/** Length of the path without query and fragment. */
export function pathLength(path: string): number {
  const query = path.indexOf('?')
  const end = query < 0 ? path.length : query
  const fragment = path.indexOf('#')
  return fragment >= 0 && fragment < end ? fragment : end
}

/** First value of a query parameter, undecoded: Envoy's query matcher compares it so. */
export function queryParameter(path: string, name: string): string | undefined {
  const query = path.indexOf('?')
  if (query < 0) return undefined
  for (const pair of path
    .slice(query + 1)
    .split('#', 1)[0]!
    .split('&')) {
    const equals = pair.indexOf('=')
    if ((equals < 0 ? pair : pair.slice(0, equals)) === name) return equals < 0 ? '' : pair.slice(equals + 1)
  }
  return undefined
}
