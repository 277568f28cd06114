/** The pieces of configuration that suites on a `Rig` share, as YAML. */

export const GATEWAY = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gateway }
spec:
  gatewayClassName: signalbox
  listeners: [{ name: http, port: @PORT@, protocol: HTTP }]
`

export interface PoolOptions {
  /** Default `pool`. */
  readonly name?: string
  readonly addresses: readonly string[]
  readonly failureMode?: 'FailOpen' | 'FailClose'
  readonly annotations?: Readonly<Record<string, string>>
}

/** An InferencePool and the static endpoints that it selects. */
export function poolYaml({ name = 'pool', addresses, failureMode, annotations = {} }: PoolOptions): string {
  const endpoints = addresses.map(address => {
    const colon = address.lastIndexOf(':')
    return `    - { address: "${address.slice(0, colon)}", port: ${address.slice(colon + 1)} }`
  })
  return `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: ${name}, annotations: ${JSON.stringify(annotations)} }
spec:
  selector: { matchLabels: { pool: ${name} } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: signalbox, port: { number: 9002 }${failureMode === undefined ? '' : `, failureMode: ${failureMode}`} }
---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: ${name}, labels: { pool: ${name} } }
spec:
  endpoints:
${endpoints.join('\n')}
`
}

export interface RouteOptions {
  readonly name?: string
  readonly annotations?: Readonly<Record<string, string>>
  /** Path prefix. Default `/v1`. */
  readonly prefix?: string
  /** Model → pool; the key '' is a rule without a condition. */
  readonly models: Readonly<Record<string, string>>
}

/** An HTTPRoute that chooses pools by the model in the body. */
export function routeYaml({ name = 'route', annotations = {}, prefix = '/v1', models }: RouteOptions): string {
  const rules = Object.entries(models).map(
    ([model, pool]) => `
    - matches:
        - path: { type: PathPrefix, value: ${prefix} }
${model === '' ? '' : `          headers: [{ name: x-gateway-model-name, value: "${model}" }]\n`}
      backendRefs: [{ group: inference.networking.k8s.io, kind: InferencePool, name: ${pool} }]`,
  )
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, annotations: ${JSON.stringify(annotations)} }
spec:
  parentRefs: [{ name: gateway }]
  rules:${rules.join('')}
`
}

/** SignalboxParameters; `spec` is YAML in flow style. The access log goes to the file that `Rig.accessLog` reads. */
export function parametersYaml(spec = '{}'): string {
  const inner = spec.trim().replace(/^\{/, '').replace(/\}$/, '').trim()
  return `
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxParameters
metadata: { name: parameters }
spec: { accessLog: { type: file, path: "@FOLDER@/access.log" }${inner === '' ? '' : `, ${inner}`} }
`
}

export function documents(...yaml: readonly string[]): string {
  return yaml.join('\n---\n')
}
