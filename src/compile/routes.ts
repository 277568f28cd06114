import type { HttpRoute, ParentRef } from '../config/kinds/http-route.ts'
import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import type { Backend, Backends } from './backends.ts'
import { CLIENT_HEADER_PREFIXES } from './envoy/listeners.ts'
import { attach, type ListenerState } from './gateways.ts'
import type { ObjectIndex } from './object-index.ts'
import { type ResolvedRule, type RouteUnit, unitsOf } from './rules.ts'
import { type Condition, condition, CONTROLLER_NAME, type ObjectStatus, type ParentStatus } from './statuses.ts'

export interface AttachedRoutes {
  readonly statuses: readonly ObjectStatus[]
  /** The units that are reached under a host name of a listener. */
  readonly unitsFor: (listener: ListenerState, hostname: string) => readonly RouteUnit[]
  /** Pool → the Gateways (as parentRefs) whose routes lead to it. */
  readonly poolParents: ReadonlyMap<string, readonly ParentRef[]>
}

/** Resolves all HTTPRoutes and hangs them on their listeners. */
export function attachRoutes(
  objects: ObjectIndex,
  backends: Backends,
  listeners: readonly ListenerState[],
  problems: Problem[],
): AttachedRoutes {
  const units = new Map<HttpRoute, readonly RouteUnit[]>()
  const statuses: ObjectStatus[] = []
  const poolParents = new Map<string, ParentRef[]>()
  for (const route of objects.all('HTTPRoute')) {
    const rules = (route.spec.rules ?? [{ filters: [], backendRefs: [] }]).map((spec, index) =>
      resolveRule(route, spec, index, backends, problems),
    )
    units.set(
      route,
      rules.flatMap(rule => unitsOf(rule, objects.parameters.routing)),
    )
    const resolved = resolvedRefs(route, rules)
    const parents: ParentStatus[] = []
    if (route.spec.parentRefs.length === 0)
      problems.push(problemAt(route, 'warning', 'unused', ['spec', 'parentRefs'], 'the route names no Gateway'))
    for (const [index, parentRef] of route.spec.parentRefs.entries()) {
      const accepted = attach(route, parentRef, listeners)
      const path = ['spec', 'parentRefs', index]
      if (accepted === 'not-a-gateway') {
        const message = `a parent of the kind ${parentRef.kind} is not supported and ignored`
        problems.push(problemAt(route, 'warning', 'unsupported-kind', path, message))
        continue
      }
      if (accepted.status === 'False')
        problems.push(problemAt(route, 'warning', 'not-attached', path, accepted.message))
      else addPoolParents(poolParents, rules, route, parentRef)
      parents.push({ parentRef, controllerName: CONTROLLER_NAME, conditions: [accepted, resolved] })
    }
    statuses.push({ kind: 'HTTPRoute', namespace: route.metadata.namespace, name: route.metadata.name, parents })
  }
  return {
    statuses,
    poolParents,
    unitsFor: (listener, hostname) =>
      listener.routes.filter(item => item.hostnames.includes(hostname)).flatMap(item => units.get(item.route)!),
  }
}

function resolveRule(
  route: HttpRoute,
  spec: ResolvedRule['spec'],
  index: number,
  backends: Backends,
  problems: Problem[],
): ResolvedRule {
  const path = ['spec', 'rules', index]
  const redirects = spec.filters.some(filter => filter.type === 'RequestRedirect')
  if (spec.backendRefs.length === 0 && !redirects) {
    const message = 'the rule has no backendRefs: its requests are answered with 500'
    problems.push(problemAt(route, 'warning', 'no-backend', path, message))
  }
  for (const [matchIndex, match] of (spec.matches ?? []).entries()) {
    for (const [headerIndex, { name }] of match.headers.entries()) {
      if (!CLIENT_HEADER_PREFIXES.some(prefix => name.toLowerCase().startsWith(prefix))) continue
      const at = [...path, 'matches', matchIndex, 'headers', headerIndex, 'name']
      const message = `never matches: "${name}" is removed from what clients send`
      problems.push(problemAt(route, 'warning', 'never-matches', at, message))
    }
  }
  const mirrors = spec.filters.flatMap((filter, filterIndex) => {
    if (filter.type !== 'RequestMirror') return []
    const { backendRef, percent } = filter.requestMirror
    const refPath = [...path, 'filters', filterIndex, 'requestMirror', 'backendRef']
    const backend = backends.resolve(route, backendRef, refPath)
    if (backend.type === 'pool') {
      const message = 'an InferencePool can not be mirrored to: nothing picks an endpoint for the copy'
      problems.push(problemAt(route, 'error', 'unsupported', refPath, message))
    }
    return backend.type === 'cluster' ? [{ cluster: backend.cluster, percent }] : []
  })
  return {
    route,
    index,
    spec,
    mirrors,
    backends: spec.backendRefs.map((ref, refIndex) => backends.resolve(route, ref, [...path, 'backendRefs', refIndex])),
  }
}

function resolvedRefs(route: HttpRoute, rules: readonly ResolvedRule[]): Condition {
  const isInvalid = (backend: Backend) => backend.type === 'invalid'
  const fault = rules.flatMap(rule => rule.backends).find(isInvalid)
  if (fault === undefined) return condition(route.metadata, 'ResolvedRefs', true, 'ResolvedRefs')
  return condition(route.metadata, 'ResolvedRefs', false, fault.reason, fault.message)
}

function addPoolParents(
  parents: Map<string, ParentRef[]>,
  rules: readonly ResolvedRule[],
  route: HttpRoute,
  { group, kind, name, namespace = route.metadata.namespace }: ParentRef,
): void {
  for (const backend of rules.flatMap(rule => rule.backends)) {
    if (backend.type !== 'pool') continue
    const pool = backend.plan.name
    const refs = parents.get(pool) ?? []
    const known = refs.some(ref => ref.namespace === namespace && ref.name === name)
    if (!known) parents.set(pool, [...refs, { group, kind, name, namespace }])
  }
}
