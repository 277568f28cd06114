import type { ParentRef } from '../config/kinds/http-route.ts'
import type { ObjectMeta } from '../config/object.ts'

/** `spec.controllerName` of the GatewayClasses that we serve, and the name under which we write statuses. */
export const CONTROLLER_NAME = 'signalbox.dev/gateway-controller'

/** A Kubernetes condition without its times: those are the status writer's. */
export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
  readonly observedGeneration?: number
}

export interface ParentStatus {
  readonly parentRef: ParentRef
  readonly controllerName: string
  readonly conditions: readonly Condition[]
}

interface ListenerStatus {
  readonly name: string
  readonly supportedKinds: readonly { readonly group: string; readonly kind: string }[]
  readonly attachedRoutes: number
  readonly conditions: readonly Condition[]
}

interface Named {
  readonly namespace: string
  readonly name: string
}

/** What goes back to the source of an object. */
export type ObjectStatus =
  | (Named & {
      readonly kind: 'Gateway'
      readonly conditions: readonly Condition[]
      readonly listeners: readonly ListenerStatus[]
    })
  | (Named & { readonly kind: 'HTTPRoute' | 'InferencePool'; readonly parents: readonly ParentStatus[] })

/** `false` with a reason and a message, or `true` with a reason. */
export function condition(meta: ObjectMeta, type: string, ok: boolean, reason: string, message = ''): Condition {
  return {
    type,
    status: ok ? 'True' : 'False',
    reason,
    message,
    ...(meta.generation === undefined ? {} : { observedGeneration: meta.generation }),
  }
}
