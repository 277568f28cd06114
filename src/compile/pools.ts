import { isIP } from 'node:net'
import type { InferencePool } from '../config/kinds/inference-pool.ts'
import type { SignalboxBackend } from '../config/kinds/signalbox-backend.ts'
import { keyOf, problemAt } from '../config/object.ts'
import { parseQuantity } from '../config/quantity.ts'
import type { Problem } from '../config/problem.ts'
import type { EndpointPlan, PoolLimits, PoolPlan, RewritePlan } from '../inference/pool-plan.ts'
import { DEFAULT_SCORERS } from '../inference/scheduling/scorers/registry.ts'
import { addressText, canonicalHost } from './addresses.ts'
import { compareAge } from './age.ts'
import { MAX_HELD_BYTES, MAX_IN_FLIGHT, reportsLoad, UNKNOWN_MODELS } from './annotations.ts'
import { objectivesOf } from './objectives.ts'
import { discoveredEndpoints } from './discovered-endpoints.ts'
import { configOf, dataLayerOf, pickerConfigOf } from './picker-configs.ts'
import { schedulingFor } from './picker-flow-control.ts'
import type { HostPort } from './envoy/clusters.ts'
import { poolCluster } from './names.ts'
import type { ObjectIndex } from './object-index.ts'

const LATENCY_PRODUCER = 'predicted-latency-producer'

/** What holds where neither the pool nor the configuration says it. */
export interface PoolDefaults {
  /** What becomes of models that no endpoint lists. */
  readonly unknownModels: 'Reject' | 'Forward'
  /** Length of the picked list: its data plane must be able to take it. */
  readonly endpoints: number
}

/**
 * The data-path plan of a pool. Endpoints are what the pool's namespace has with the labels of its selector: pods, each once for
 * every one of the pool's `targetPorts`, and the endpoints of SignalboxBackends, which have a port of their own.
 */
export function compilePool(
  objects: ObjectIndex,
  pool: InferencePool,
  problems: Problem[],
  { unknownModels, endpoints }: PoolDefaults,
): PoolPlan {
  const { scheduling, scrape, failureMode } = objects.parameters
  const { maxEndpoints = endpoints, scorers = DEFAULT_SCORERS, ...rest } = scheduling
  const picker = pickerConfigOf(objects, pool, problems)
  const bands = picker?.flowControl?.bands.map(({ priority }) => priority) ?? []
  const objectives = objectivesOf(objects, pool, bands, problems)
  const limits = limitsOf(pool)
  return {
    name: keyOf(pool),
    cluster: poolCluster(keyOf(pool)),
    endpoints: selectEndpoints(objects, pool, problems),
    failOpen: (pool.spec.endpointPickerRef?.failureMode ?? failureMode) === 'FailOpen',
    rejectUnknownModels: (pool.metadata.annotations[UNKNOWN_MODELS] ?? unknownModels) === 'Reject',
    rewrites: rewritesOf(objects, pool),
    ...(Object.keys(objectives).length === 0 ? {} : { objectives }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    scheduling: schedulingFor(
      {
        maxEndpoints,
        ...rest,
        scorers,
        ...picker,
      },
      Object.values(objectives),
    ),
    scrape: {
      path: scrape.path,
      intervalMs: scrape.interval,
      timeoutMs: scrape.timeout,
      staleMs: scrape.stale,
      modelsIntervalMs: scrape.modelsInterval,
      idleIntervalMs: scrape.idleInterval,
      ...dataLayerOf(objects, pool),
      ...(picker?.producers?.some(({ type }) => type === LATENCY_PRODUCER) === true ? { tokenTimes: true } : {}),
      ...(reportsLoad(pool) ? { orca: true } : {}),
    },
  }
}

/** By annotations, which were checked (./annotations.ts). */
function limitsOf({ metadata: { annotations } }: InferencePool): PoolLimits {
  const inFlight = parseQuantity(annotations[MAX_IN_FLIGHT] ?? '')
  const heldBytes = parseQuantity(annotations[MAX_HELD_BYTES] ?? '')
  return { ...(inFlight === undefined ? {} : { inFlight }), ...(heldBytes === undefined ? {} : { heldBytes }) }
}

function selectEndpoints(objects: ObjectIndex, pool: InferencePool, problems: Problem[]): EndpointPlan[] {
  const discovered = discoveredEndpoints(objects, configOf(objects, pool, []), problems)
  if (discovered !== undefined) return discovered
  const endpoints = new Map<string, EndpointPlan>()
  const wanted = Object.entries(pool.spec.selector.matchLabels)
  for (const pod of objects.all('Pod')) {
    const { name, namespace, labels } = pod.metadata
    if (namespace !== pool.metadata.namespace || !wanted.every(([key, value]) => labels[key] === value)) continue
    for (const [rank, { number }] of pool.spec.targetPorts.entries()) {
      if (pod.activePorts !== undefined && !pod.activePorts.includes(number)) continue
      const address = addressText(canonicalHost(pod.address), number)
      // Pods on their nodes' network may share an address.
      if (!endpoints.has(address)) endpoints.set(address, { address, labels, pod: name, rank })
    }
  }
  for (const backend of objects.all('SignalboxBackend')) {
    if (backend.metadata.namespace !== pool.metadata.namespace) continue
    for (const [index, endpoint] of backend.spec.endpoints.entries()) {
      const labels = { ...backend.metadata.labels, ...endpoint.labels }
      if (!wanted.every(([key, value]) => labels[key] === value)) continue
      const path = ['spec', 'endpoints', index, 'address']
      if (isIP(endpoint.address) === 0) {
        const message = `InferencePool ${keyOf(pool)} selects this endpoint: a picked endpoint needs an IP address, not the host name "${endpoint.address}"`
        problems.push(problemAt(backend, 'error', 'not-an-ip', path, message))
        continue
      }
      const address = addressText(canonicalHost(endpoint.address), endpoint.port)
      if (endpoints.has(address)) {
        const message = `InferencePool ${keyOf(pool)} has ${address} already; this one is ignored`
        problems.push(problemAt(backend, 'warning', 'duplicate-endpoint', path, message))
        continue
      }
      checkProtocol(pool, backend, problems)
      endpoints.set(address, { address, labels })
    }
  }
  if (endpoints.size === 0) {
    const message = 'no ready pod and no endpoint of a SignalboxBackend in this namespace has these labels'
    problems.push(problemAt(pool, 'warning', 'no-endpoints', ['spec', 'selector'], message))
  }
  return [...endpoints.values()]
}

function checkProtocol(pool: InferencePool, backend: SignalboxBackend, problems: Problem[]): void {
  if (backend.spec.appProtocol === pool.spec.appProtocol) return
  const message = `speaks ${backend.spec.appProtocol}, but InferencePool ${keyOf(pool)} says ${pool.spec.appProtocol}; the pool's counts`
  problems.push(problemAt(backend, 'warning', 'protocol-mismatch', ['spec', 'appProtocol'], message))
}

/** Rules of one model name: exact before generic, older objects first, then their order in the object. First wins. */
function rewritesOf(objects: ObjectIndex, pool: InferencePool): RewritePlan[] {
  const rewrites = new Map<string, RewritePlan>()
  const sources = objects
    .all('InferenceModelRewrite')
    .filter(
      item => item.metadata.namespace === pool.metadata.namespace && item.spec.poolRef.name === pool.metadata.name,
    )
    .sort((a, b) => compareAge(a.metadata.creationTimestamp, b.metadata.creationTimestamp))
  for (const { metadata, spec } of sources) {
    for (const rule of spec.rules) {
      const anyWeight = rule.targets.some(target => target.weight !== undefined)
      const targets = rule.targets
        .map(target => ({ model: target.modelRewrite, weight: target.weight ?? (anyWeight ? 0 : 1) }))
        .filter(target => target.weight > 0)
      const models: (string | undefined)[] =
        rule.matches.length === 0 ? [undefined] : rule.matches.map(match => match.model.value)
      for (const model of models) {
        const key = model ?? ''
        if (!rewrites.has(key))
          rewrites.set(key, { name: metadata.name, ...(model === undefined ? {} : { model }), targets })
      }
    }
  }
  return [...rewrites.values()].sort((a, b) => Number(a.model === undefined) - Number(b.model === undefined))
}

export function splitAddress(address: string): HostPort {
  const colon = address.lastIndexOf(':')
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) }
}
