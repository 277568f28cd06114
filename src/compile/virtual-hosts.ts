import type { SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import type { RouteJson, VirtualHostJson } from '../gen/envoy/config/route/v3/route_components_pb.ts'
import type { EntryPlan } from '../pipeline/plan.ts'
import { compileEntry, needsDecision } from './entries.ts'
import { actionJson, NO_ROUTE, NO_TRACE } from './envoy/route-action.ts'
import { unitMatchJson } from './envoy/route-match.ts'
import type { ListenerState } from './gateways.ts'
import { compareHostnames, covers } from './hostnames.ts'
import { candidatesFor, groupByPath, type PathCondition, type PathGroup, type RouteUnit } from './rules.ts'

const MODELS_PATH: PathCondition = { type: 'exact', value: '/v1/models' }

export interface RouteScope {
  /** `namespace/gateway/port` or `…/listener`: name of the route configuration. */
  readonly name: string
  readonly port: number
  /** Listeners that share the port (HTTP), or the one listener (HTTPS). */
  readonly listeners: readonly ListenerState[]
}

export interface CompiledHosts {
  readonly virtualHosts: readonly VirtualHostJson[]
  readonly entries: readonly EntryPlan[]
}

/**
 * The virtual hosts of a route configuration. A host name belongs to the most specific listener that has it, and only that
 * listener's routes apply (Gateway API listener isolation); of several matching host names the most specific wins, also when
 * none of its rules matches.
 */
export function compileHosts(
  scope: RouteScope,
  unitsOfRoute: (listener: ListenerState, hostname: string) => readonly RouteUnit[],
  parameters: SignalboxParametersSpec,
): CompiledHosts {
  const owners = new Map<string, ListenerState>()
  for (const listener of scope.listeners) {
    const own = listener.spec.hostname ?? '*'
    for (const name of new Set([own, ...listener.routes.flatMap(route => route.hostnames)])) {
      const owner = [...scope.listeners]
        .filter(other => covers(other.spec.hostname ?? '*', name))
        .sort((a, b) => compareHostnames(a.spec.hostname ?? '*', b.spec.hostname ?? '*'))[0]!
      owners.set(name, owner)
    }
  }
  const entries: EntryPlan[] = []
  const virtualHosts: VirtualHostJson[] = []
  const hostnames = [...owners.keys()].sort(compareHostnames)
  for (const hostname of hostnames) {
    const groups = groupByPath(unitsOfRoute(owners.get(hostname)!, hostname))
    const host = compileHost(`${scope.name}/${hostname}`, groups, scope.port, parameters)
    entries.push(...host.entries)
    virtualHosts.push({ name: hostname, domains: [hostname], routes: host.routes })
  }
  if (!owners.has('*')) virtualHosts.push({ name: '*', domains: ['*'], routes: [everythingElse()] })
  return { virtualHosts, entries }
}

function compileHost(
  scope: string,
  groups: readonly PathGroup[],
  listenerPort: number,
  parameters: SignalboxParametersSpec,
): { routes: RouteJson[]; entries: EntryPlan[] } {
  const routes: RouteJson[] = []
  const entries: EntryPlan[] = []
  const addEntry = (path: PathCondition, listModels: boolean): boolean => {
    const candidates = candidatesFor(path, groups)
    if (!needsDecision(candidates)) return false
    const entry = compileEntry({ scope, path, listenerPort, candidates, listModels }, parameters)
    routes.push(...entry.routes)
    entries.push(entry.plan)
    return true
  }
  const traced = groups.some(({ units }) => units.some(({ method }) => method === 'TRACE'))
  if (!traced) routes.push(noTrace())
  if (!groups.some(({ path }) => path.type === 'exact' && path.value === MODELS_PATH.value)) addEntry(MODELS_PATH, true)
  for (const group of groups) {
    if (addEntry(group.path, false)) continue
    for (const unit of group.units) {
      routes.push({
        name: `${unit.rule.route.metadata.namespace}/${unit.rule.route.metadata.name}/${unit.rule.index}/${unit.matchIndex}`,
        match: unitMatchJson(unit),
        ...actionJson(unit.rule, unit.path, listenerPort, parameters),
      })
    }
  }
  routes.push(everythingElse())
  return { routes, entries }
}

function everythingElse(): RouteJson {
  return { name: 'no-route', match: { prefix: '/' }, ...NO_ROUTE }
}

/** First of all routes, unless a rule asks for TRACE. */
function noTrace(): RouteJson {
  const headers = [{ name: ':method', stringMatch: { exact: 'TRACE' } }]
  return { name: 'no-trace', match: { prefix: '/', headers }, ...NO_TRACE }
}
