import type { ParentRef } from '../config/kinds/http-route.ts'
import { keyOf } from '../config/object.ts'
import type { ListenerState } from './gateways.ts'
import type { ObjectIndex } from './object-index.ts'
import { condition, CONTROLLER_NAME, type ObjectStatus } from './statuses.ts'

const SUPPORTED_KINDS = [{ group: 'gateway.networking.k8s.io', kind: 'HTTPRoute' }]

export function gatewayStatuses(objects: ObjectIndex, listeners: readonly ListenerState[]): ObjectStatus[] {
  return objects.all('Gateway').map(gateway => {
    const own = listeners.filter(listener => listener.gateway === gateway)
    const meta = gateway.metadata
    const working = own.filter(listener => !listener.broken).length
    const accepted =
      working === own.length
        ? condition(meta, 'Accepted', true, 'Accepted')
        : condition(
            meta,
            'Accepted',
            working > 0,
            'ListenersNotValid',
            `${own.length - working} listeners are not valid`,
          )
    return {
      kind: 'Gateway',
      namespace: meta.namespace,
      name: meta.name,
      conditions: [accepted, condition(meta, 'Programmed', working > 0, working > 0 ? 'Programmed' : 'Invalid')],
      listeners: own.map(({ spec, conditions, routes }) => ({
        name: spec.name,
        supportedKinds: SUPPORTED_KINDS,
        attachedRoutes: routes.length,
        conditions,
      })),
    }
  })
}

export function poolStatuses(objects: ObjectIndex, parents: ReadonlyMap<string, readonly ParentRef[]>): ObjectStatus[] {
  return objects.all('InferencePool').map(pool => ({
    kind: 'InferencePool',
    namespace: pool.metadata.namespace,
    name: pool.metadata.name,
    // In our fleet Signalbox is the picker, whatever endpointPickerRef names: there is no reference to fail.
    parents: (parents.get(keyOf(pool)) ?? []).map(parentRef => ({
      parentRef,
      controllerName: CONTROLLER_NAME,
      conditions: [
        condition(pool.metadata, 'Accepted', true, 'Accepted'),
        condition(pool.metadata, 'ResolvedRefs', true, 'ResolvedRefs'),
      ],
    })),
  }))
}
