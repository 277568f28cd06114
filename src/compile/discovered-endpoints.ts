import { discoveryOf } from '../config/endpoints-file.ts'
import type { EndpointPickerConfig } from '../config/kinds/endpoint-picker-config.ts'
import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import type { EndpointPlan } from '../inference/pool-plan.ts'
import { addressText, canonicalHost } from './addresses.ts'
import type { ObjectIndex } from './object-index.ts'

/**
 * The endpoints of a pool whose EndpointPickerConfig has them from a file (epp.md §3.13): all that are there, whatever the pool selects.
 * Undefined: it has them from elsewhere.
 */
export function discoveredEndpoints(
  objects: ObjectIndex,
  config: EndpointPickerConfig | undefined,
  problems: Problem[],
): EndpointPlan[] | undefined {
  const discovery = config === undefined ? undefined : discoveryOf(config)
  if (discovery === undefined) return undefined
  const file = objects.get('EndpointsFile', `default/${discovery.path}`)
  if (file === undefined) {
    const message = `${discovery.path} was not read: files of endpoints are read for configurations that are files themselves`
    problems.push(problemAt(config!, 'error', 'unresolved-reference', ['dataLayer', 'discovery'], message))
    return []
  }
  const endpoints = new Map<string, EndpointPlan>()
  for (const [index, { name, address: host, port, labels }] of file.endpoints.entries()) {
    const address = addressText(canonicalHost(host), port)
    if (!endpoints.has(address)) endpoints.set(address, { address, labels, pod: name })
    else {
      const message = `${address} is there already, as ${endpoints.get(address)!.pod}; this one is ignored`
      problems.push(problemAt(file, 'warning', 'duplicate-endpoint', ['endpoints', index, 'address'], message))
    }
  }
  return [...endpoints.values()]
}
