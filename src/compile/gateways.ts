import type { Gateway, GatewayListener } from '../config/kinds/gateway.ts'
import type { HttpRoute, ParentRef } from '../config/kinds/http-route.ts'
import { keyOf, problemAt } from '../config/object.ts'
import { formatPosition, type Problem } from '../config/problem.ts'
import { intersectHostnames } from './hostnames.ts'
import type { ObjectIndex } from './object-index.ts'
import { type Condition, condition } from './statuses.ts'

const GATEWAY_GROUP = 'gateway.networking.k8s.io'

/** A listener of a Gateway with what hangs on it. */
export interface ListenerState {
  readonly gateway: Gateway
  readonly index: number
  readonly spec: GatewayListener
  /** Names of the SDS secrets of an HTTPS listener. */
  readonly secrets: readonly string[]
  /** Not programmable: its conditions say why. */
  readonly broken: boolean
  readonly conditions: readonly Condition[]
  readonly routes: AttachedRoute[]
}

interface AttachedRoute {
  readonly route: HttpRoute
  /** Intersection of the listener's and the route's host names; `*` = any. */
  readonly hostnames: readonly string[]
}

/** Checks all listeners. Port conflicts are errors; what else is wrong with a listener is its status and a warning. */
export function readListeners(objects: ObjectIndex, problems: Problem[]): ListenerState[] {
  const states: ListenerState[] = []
  const ports = new Map<number, ListenerState>()
  for (const gateway of objects.all('Gateway')) {
    for (const [index, spec] of gateway.spec.listeners.entries()) {
      const state = readListener(objects, gateway, index, spec, problems)
      const before = ports.get(spec.port)
      if (before === undefined) ports.set(spec.port, state)
      else checkConflict(states, before, state, problems)
      states.push(state)
    }
  }
  return states
}

function checkConflict(
  states: readonly ListenerState[],
  first: ListenerState,
  state: ListenerState,
  problems: Problem[],
): void {
  const path = ['spec', 'listeners', state.index]
  const where = formatPosition(first.gateway.origin.locate(['spec', 'listeners', first.index, 'port']))
  const { port, protocol, hostname } = state.spec
  if (first.gateway !== state.gateway) {
    const message = `port ${port} is already used by Gateway ${keyOf(first.gateway)} (${where})`
    problems.push(problemAt(state.gateway, 'error', 'port-conflict', [...path, 'port'], message))
  } else if (first.spec.protocol !== protocol) {
    const message = `port ${port} is already used with the protocol ${first.spec.protocol} (${where})`
    problems.push(problemAt(state.gateway, 'error', 'port-conflict', [...path, 'protocol'], message))
  } else {
    const same = states.find(other => other.spec.port === port && other.spec.hostname === hostname)
    if (same === undefined) return
    const message = `listener "${same.spec.name}" has the same port and ${hostname === undefined ? 'no hostname either' : 'hostname'}`
    problems.push(problemAt(state.gateway, 'error', 'hostname-conflict', path, message))
  }
}

function readListener(
  objects: ObjectIndex,
  gateway: Gateway,
  index: number,
  spec: GatewayListener,
  problems: Problem[],
): ListenerState {
  const meta = gateway.metadata
  const path = ['spec', 'listeners', index]
  const conditions: Condition[] = []
  const warn = (code: string, at: readonly (string | number)[], message: string): void => {
    problems.push(problemAt(gateway, 'warning', code, [...path, ...at], message))
  }
  let accepted = true
  if (spec.protocol !== 'HTTP' && spec.protocol !== 'HTTPS') {
    accepted = false
    const message = `protocol ${spec.protocol} is not supported: use HTTP or HTTPS`
    conditions.push(condition(meta, 'Accepted', false, 'UnsupportedProtocol', message))
    warn('unsupported-protocol', ['protocol'], message)
  } else if (spec.protocol === 'HTTPS' && spec.tls?.mode === 'Passthrough') {
    accepted = false
    const message = 'an HTTPS listener terminates TLS: mode Passthrough is not supported'
    conditions.push(condition(meta, 'Accepted', false, 'UnsupportedProtocol', message))
    warn('unsupported-protocol', ['tls', 'mode'], message)
  } else conditions.push(condition(meta, 'Accepted', true, 'Accepted'))

  let resolved: Condition = condition(meta, 'ResolvedRefs', true, 'ResolvedRefs')
  const secrets: string[] = []
  if (spec.protocol === 'HTTPS' && accepted) {
    const refs = spec.tls?.certificateRefs ?? []
    const faults = refs.map((_, ref) => secretFault(objects, gateway, spec, ref, secrets))
    if (refs.length === 0)
      faults.push({ reason: 'InvalidCertificateRef', message: 'an HTTPS listener needs a certificate' })
    for (const [ref, fault] of faults.entries()) {
      if (fault === undefined) continue
      resolved = condition(meta, 'ResolvedRefs', false, fault.reason, fault.message)
      warn('unresolved-reference', ['tls', 'certificateRefs', ref], fault.message)
    }
  }
  const kinds = spec.allowedRoutes?.kinds ?? []
  if (kinds.some(kind => kind.group !== GATEWAY_GROUP || kind.kind !== 'HTTPRoute')) {
    const message = 'only routes of the kind HTTPRoute are supported'
    resolved = condition(meta, 'ResolvedRefs', false, 'InvalidRouteKinds', message)
    warn('unsupported-kind', ['allowedRoutes', 'kinds'], message)
  }
  conditions.push(resolved)
  const broken = !accepted || (spec.protocol === 'HTTPS' && secrets.length === 0)
  conditions.push(
    condition(meta, 'Programmed', !broken, broken ? 'Invalid' : 'Programmed'),
    condition(meta, 'Conflicted', false, 'NoConflicts'),
  )
  return { gateway, index, spec, secrets, broken, conditions, routes: [] }
}

function secretFault(
  objects: ObjectIndex,
  gateway: Gateway,
  spec: GatewayListener,
  index: number,
  secrets: string[],
): { reason: string; message: string } | undefined {
  const ref = spec.tls!.certificateRefs[index]!
  const namespace = ref.namespace ?? gateway.metadata.namespace
  const key = `${namespace}/${ref.name}`
  if (ref.group !== '' || ref.kind !== 'Secret')
    return { reason: 'InvalidCertificateRef', message: `a certificate is a Secret, not a ${ref.kind}` }
  const from = { group: GATEWAY_GROUP, kind: 'Gateway', namespace: gateway.metadata.namespace }
  if (!objects.granted(from, { group: '', kind: 'Secret', namespace, name: ref.name }))
    return { reason: 'RefNotPermitted', message: `no ReferenceGrant in ${namespace} allows the Secret ${key}` }
  const secret = objects.get('Secret', key)
  if (secret === undefined) return { reason: 'InvalidCertificateRef', message: `there is no Secret ${key}` }
  const { 'tls.crt': certificate = '', 'tls.key': privateKey = '' } = secret.data
  if (secret.type !== 'kubernetes.io/tls' || !/-----BEGIN CERTIFICATE-----/.test(certificate))
    return {
      reason: 'InvalidCertificateRef',
      message: `Secret ${key} has no PEM certificate (type kubernetes.io/tls, tls.crt)`,
    }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(privateKey))
    return { reason: 'InvalidCertificateRef', message: `Secret ${key} has no PEM private key (tls.key)` }
  secrets.push(key)
  return undefined
}

/** Hangs a route on the listeners that one of its parentRefs names. Returns the `Accepted` condition of that parentRef. */
export function attach(
  route: HttpRoute,
  ref: ParentRef,
  listeners: readonly ListenerState[],
): Condition | 'not-a-gateway' {
  if (ref.group !== GATEWAY_GROUP || ref.kind !== 'Gateway') return 'not-a-gateway'
  const meta = route.metadata
  const namespace = ref.namespace ?? meta.namespace
  const ofGateway = listeners.filter(
    ({ gateway }) => gateway.metadata.name === ref.name && gateway.metadata.namespace === namespace,
  )
  const refuse = (reason: string, message: string): Condition => condition(meta, 'Accepted', false, reason, message)
  if (ofGateway.length === 0) return refuse('NoMatchingParent', `there is no Gateway ${namespace}/${ref.name}`)
  const named = ofGateway.filter(
    ({ spec }) =>
      (ref.sectionName === undefined || spec.name === ref.sectionName) &&
      (ref.port === undefined || spec.port === ref.port),
  )
  if (named.length === 0)
    return refuse('NoMatchingParent', `Gateway ${namespace}/${ref.name} has no listener with that name and port`)
  const allowing = named.filter(listener => allows(listener, route))
  if (allowing.length === 0)
    return refuse('NotAllowedByListeners', `no listener allows routes of the namespace ${meta.namespace}`)
  let attached = false
  for (const listener of allowing) {
    const hostnames = intersectHostnames(listener.spec.hostname, route.spec.hostnames)
    if (hostnames.length === 0) continue
    attached = true
    if (!listener.routes.some(other => other.route === route)) listener.routes.push({ route, hostnames })
  }
  if (!attached) return refuse('NoMatchingListenerHostname', 'no listener has a host name of the route')
  return condition(meta, 'Accepted', true, 'Accepted')
}

/**
 * `allowedRoutes` of a listener. A selector sees one label of a namespace, `kubernetes.io/metadata.name`: files hold no
 * Namespace objects.
 */
function allows({ gateway, spec }: ListenerState, route: HttpRoute): boolean {
  const allowed = spec.allowedRoutes
  const kinds = allowed?.kinds ?? []
  if (kinds.length > 0 && !kinds.some(kind => kind.group === GATEWAY_GROUP && kind.kind === 'HTTPRoute')) return false
  const { from = 'Same', selector } = allowed?.namespaces ?? {}
  const { namespace } = route.metadata
  if (from === 'All') return true
  if (from === 'Same') return namespace === gateway.metadata.namespace
  const labels: Readonly<Record<string, string>> = { 'kubernetes.io/metadata.name': namespace }
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {}
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values }) => {
      const value = labels[key]
      if (operator === 'Exists') return value !== undefined
      if (operator === 'DoesNotExist') return value === undefined
      const listed = value !== undefined && values.includes(value)
      return operator === 'In' ? listed : !listed
    })
  )
}
