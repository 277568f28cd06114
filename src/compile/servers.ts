import { keyOf } from '../config/object.ts'
import type { SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import type { ListenerJson } from '../gen/envoy/config/listener/v3/listener_pb.ts'
import type { RouteConfigurationJson } from '../gen/envoy/config/route/v3/route_pb.ts'
import type { EntryPlan } from '../pipeline/plan.ts'
import type { LogContents } from './envoy/access-log.ts'
import { listenerJson } from './envoy/listeners.ts'
import type { ListenerState } from './gateways.ts'
import type { RouteUnit } from './rules.ts'
import { compileHosts, type RouteScope } from './virtual-hosts.ts'

interface CompiledServers {
  readonly listeners: readonly ListenerJson[]
  readonly routes: readonly RouteConfigurationJson[]
  readonly entries: readonly EntryPlan[]
}

/** Envoy listeners, one per port of a Gateway, with their route configurations and entries. */
export function compileServers(
  states: readonly ListenerState[],
  unitsFor: (listener: ListenerState, hostname: string) => readonly RouteUnit[],
  parameters: SignalboxParametersSpec,
  logs: LogContents,
): CompiledServers {
  const listeners: ListenerJson[] = []
  const routes: RouteConfigurationJson[] = []
  const entries: EntryPlan[] = []
  for (const [name, group] of byPort(states)) {
    const { gateway, spec } = group[0]!
    const scopes: RouteScope[] =
      spec.protocol === 'HTTPS'
        ? group.map(state => ({ name: `${name}/${state.spec.name}`, port: spec.port, listeners: [state] }))
        : [{ name, port: spec.port, listeners: group }]
    for (const scope of scopes) {
      const hosts = compileHosts(scope, unitsFor, parameters)
      entries.push(...hosts.entries)
      routes.push({
        name: scope.name,
        // The port of a Host header is no part of the virtual host's name.
        ignorePortInHostMatching: true,
        virtualHosts: [...hosts.virtualHosts],
      })
    }
    const chains = scopes.map(scope => {
      const { secrets, spec } = scope.listeners[0]!
      if (spec.protocol !== 'HTTPS') return { name: scope.name }
      return {
        name: scope.name,
        tls: { ...(spec.hostname === undefined ? {} : { serverName: spec.hostname }), secrets },
      }
    })
    const address = gateway.spec.addresses?.[0]?.value ?? '0.0.0.0'
    listeners.push(listenerJson({ name, address, port: spec.port, chains }, parameters, logs))
  }
  return { listeners, routes, entries }
}

function byPort(states: readonly ListenerState[]): Map<string, ListenerState[]> {
  const groups = new Map<string, ListenerState[]>()
  for (const state of states) {
    if (state.broken) continue
    const name = `${keyOf(state.gateway)}/${state.spec.port}`
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [state])
    else group.push(state)
  }
  return groups
}
