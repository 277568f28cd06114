import { describe, expect, it } from '@jest/globals'
import { pickedPool } from '../../test/support/picked-pool.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { ALONE } from '../inference/endpoint-slots.ts'
import { PlanKeeper } from '../pipeline/plan-keeper.ts'
import { compileSet } from './compile.ts'

const POOL = pickedPool()
const CONFIG = 'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n'
const ON = `${CONFIG}featureGates: [flowControl]\n`
const ROUTE = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: g }
spec: { gatewayClassName: signalbox, listeners: [{ name: http, port: 8080, protocol: HTTP }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r }
spec:
  parentRefs: [{ name: g }]
  rules: [{ backendRefs: [{ group: inference.networking.k8s.io, kind: InferencePool, name: p }] }]
`

const objective = (name: string, priority?: number, { group = 'llm-d.ai', pool = 'p' } = {}) => `
apiVersion: ${group}/v1alpha2
kind: InferenceObjective
metadata: { name: ${name} }
spec: { ${priority === undefined ? '' : `priority: ${priority}, `}poolRef: { name: ${pool} } }
`

function compiled(config: string, ...others: readonly string[]) {
  const set = readTexts([
    { file: 'pool.yaml', text: [POOL, ...others].join('\n---\n') },
    { file: 'picker.yaml', text: config },
  ])
  return compileSet(set, { extProc: { addresses: ['127.0.0.1:1'] }, defaultPool: 'default/p' })
}

function poolOf(config: string, ...others: readonly string[]) {
  const { plan, errors, warnings } = compiled(config, ...others)
  expect([...errors, ...warnings].map(formatProblem)).toEqual([])
  return structuredClone(plan).pools[0]!
}

const problemsOf = (config: string, ...others: readonly string[]) => {
  const { errors, warnings } = compiled(config, ...others)
  return [...errors, ...warnings].map(formatProblem)
}

describe('flow control of an EndpointPickerConfig', () => {
  it('knows whom an agent works for by the headers that agents send, and by others that are named', () => {
    const agents = (parameters: string, config = ON) =>
      poolOf(`${config}plugins: [{ type: agent-identity, parameters: ${parameters} }]`).scheduling.agentHeaders
    const usual = ['x-claude-code-session-id', 'x-session-affinity', 'session-id', 'session_id']
    expect(agents('{}')).toEqual(usual)
    expect(agents('{ additionalSessionHeaders: [X-Mine] }')).toEqual(['x-mine', ...usual])
    expect(poolOf(ON).scheduling.agentHeaders).toBeUndefined()
    // Metrics and traces want to know it without queues too.
    expect(agents('{}', CONFIG)).toEqual(usual)
    expect(
      problemsOf(`${ON}plugins: [{ type: agent-identity, parameters: { additionalSessionHeaders: ["a b"] } }]`),
    ).toEqual([expect.stringContaining('additionalSessionHeaders[0]: must be a header name')])
  })

  it('has the defaults of llm-d', () => {
    const { flowControl, admission } = poolOf(ON).scheduling
    const band = {
      maxBytes: 1e9,
      maxRequests: 5000,
      fairness: { type: 'global-strict-fairness-policy', parameters: {} },
      ordering: { type: 'fcfs-ordering-policy', parameters: {} },
    }
    expect(admission).toBeUndefined()
    expect(flowControl).toMatchObject({
      requestTtlMs: 60_000,
      noEndpointTtlMs: 60_000,
      bands: [{ priority: 0, ...band }],
      defaultBand: band,
      defaultNegativeBand: band,
      usageLimit: { type: 'static-usage-limit-policy', parameters: { threshold: 1 } },
      saturation: { type: 'utilization-detector', parameters: { queueDepthThreshold: 5, kvCacheUtilThreshold: 0.8 } },
    })
    expect(flowControl).not.toHaveProperty('maxBytes')
  })

  it('bands are those of the file and those of the objectives, highest first', () => {
    const config = `${ON}plugins:
- { type: queue-scorer }
- { type: program-aware-fairness, name: fair, parameters: { lasHalfLifeSeconds: 30 } }
- { type: priority-holdback-policy, parameters: { minCeiling: 0.6 } }
- { type: concurrency-detector, name: busy, parameters: { maxConcurrency: 7 } }
flowControl:
  maxBytes: 2Gi
  maxRequests: 100
  defaultRequestTTL: 5s
  noEndpointRequestTTL: 2m
  defaultPriorityBand: { maxRequests: 20 }
  defaultNegativePriorityBand: { maxBytes: 512Mi, orderingPolicyRef: edf-ordering-policy }
  priorityBands:
  - { priority: 5, maxRequests: 9, fairnessPolicyRef: fair }
  - { priority: 100, fairnessPolicyRef: round-robin-fairness-policy }
  usageLimitPolicyPluginRef: priority-holdback-policy
  saturationDetector: { pluginRef: busy }
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: queue-scorer }] }]
`
    const { scheduling, objectives } = poolOf(
      config,
      objective('batch', -3),
      objective('plain'),
      objective('chat', 5, { group: 'inference.networking.x-k8s.io' }),
    )
    expect(objectives).toEqual({ batch: -3, chat: 5, plain: 0 })
    const { flowControl } = scheduling
    expect(flowControl!.bands.map(band => [band.priority, band.maxRequests, band.maxBytes])).toEqual([
      [100, 5000, 1e9],
      [5, 9, 1e9],
      [0, 20, 1e9],
      [-3, 5000, 512 * 1024 ** 2],
    ])
    expect(flowControl!.bands.map(({ fairness }) => fairness.type)).toEqual([
      'round-robin-fairness-policy',
      'program-aware-fairness',
      'global-strict-fairness-policy',
      'global-strict-fairness-policy',
    ])
    expect(flowControl).toMatchObject({
      maxBytes: 2 * 1024 ** 3,
      maxRequests: 100,
      requestTtlMs: 5000,
      noEndpointTtlMs: 120_000,
      usageLimit: { type: 'priority-holdback-policy', parameters: { minCeiling: 0.6, maxCeiling: 1 } },
      saturation: { type: 'concurrency-detector', parameters: { maxConcurrency: 7 } },
    })
    expect(flowControl!.bands[3]!.ordering.type).toBe('edf-ordering-policy')
  })

  it('evicts where it is asked to, but not what our own fleet carries', () => {
    const policies =
      'plugins: [{ type: sheddable-eviction-filter }, { type: priority-then-time-eviction-order-policy }]\n'
    const on = `${ON}flowControl: { enableEviction: true }\n`
    expect(poolOf(on).scheduling.flowControl).toMatchObject({ evicts: true })
    expect(poolOf(`${ON}flowControl: { enableEviction: false }\n`).scheduling.flowControl).not.toHaveProperty('evicts')
    expect(problemsOf(`${on}${policies}`)).toEqual([])
    expect(problemsOf(`${ON}${policies}`)).toEqual([
      expect.stringMatching(/plugins\[0\]: has no effect without flowControl.enableEviction/),
      expect.stringMatching(/plugins\[1\]: has no effect without flowControl.enableEviction/),
    ])
    expect(problemsOf(on, ROUTE)).toEqual([
      expect.stringMatching(
        /InferencePool default\/p: flowControl.enableEviction .*can't be had for what our own Envoys carry/,
      ),
    ])
  })

  it('tells all that is wrong at once', () => {
    const config = `${ON}plugins:
- { type: queue-scorer }
- { type: priority-holdback-policy, parameters: { minCeiling: 2 } }
flowControl:
  maxBytes: lots
  enableEviction: perhaps
  priorityBands: [{ priority: 1 }, { priority: 1 }]
`
    expect(problemsOf(config)).toEqual([
      expect.stringMatching(/flowControl.maxBytes: must be a quantity above 0/),
      expect.stringMatching(/flowControl.enableEviction: /),
      expect.stringMatching(/flowControl.priorityBands\[1\].priority: a second band of priority 1/),
    ])
    const references = `${ON}plugins:
- { type: queue-scorer }
flowControl:
  defaultPriorityBand: { fairnessPolicyRef: queue-scorer, orderingPolicyRef: edf-ordering }
  usageLimitPolicyPluginRef: priority-holdback-policy
  saturationDetector: { pluginRef: queue-scorer }
`
    const found = problemsOf(references)
    expect(found).toHaveLength(4)
    expect(found).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/fairnessPolicyRef: "queue-scorer" is a scorer, and no fairness-policy/),
        expect.stringMatching(/orderingPolicyRef: there is no plug-in "edf-ordering"/),
        expect.stringMatching(/usageLimitPolicyPluginRef: "priority-holdback-policy" needs parameters/),
        expect.stringMatching(/"queue-scorer" is no saturation detector/),
      ]),
    )
  })

  it('Envoys of our own fleet wait as long as requests may, and no longer than they can', () => {
    const entryOf = (config: string) => {
      const { plan, warnings } = compiled(config, ROUTE)
      const entry = plan.entries.find(({ attach, body }) => attach === 'fleet' && body !== 'none')!
      return { maxWaitMs: entry.maxWaitMs, limited: warnings.filter(({ code }) => code === 'limited').length }
    }
    expect(entryOf(`${CONFIG}plugins: []\n`)).toEqual({ maxWaitMs: undefined, limited: 0 })
    expect(entryOf(`${ON}flowControl: { noEndpointRequestTTL: 3m }\n`)).toEqual({ maxWaitMs: 180_000, limited: 0 })
    // timeouts.idle is ten minutes.
    expect(entryOf(`${ON}flowControl: { defaultRequestTTL: 0s }\n`)).toEqual({ maxWaitMs: 570_000, limited: 1 })
  })
})

describe('more priorities than a pool may have', () => {
  const bands = (count: number) => `flowControl:
  priorityBands: [${Array.from({ length: count }, (_, i) => `{ priority: ${i + 1} }`).join(', ')}]
`
  const objectives = (count: number, from: number, created: string) =>
    Array.from({ length: count }, (_, i) =>
      objective(`o${from + i}`, from + i).replace('metadata: {', `metadata: { creationTimestamp: ${created},`),
    )

  it('leave out the newest objectives, not the configuration: a plan never has more than the pool can keep', () => {
    const late = objectives(40, 200, "'2026-02-01T00:00:00Z'")
    const early = objectives(20, 100, "'2026-01-01T00:00:00Z'")
    const { plan, errors, warnings } = compiled(`${ON}${bands(40)}`, ...late, ...early, objective('known', 7))
    expect(errors).toEqual([])
    const pool = plan.pools[0]!
    expect(pool.scheduling.flowControl!.bands).toHaveLength(64)
    expect(() => new PlanKeeper({ releaseBy: 'response', threads: 1 }).update(plan, ALONE)).not.toThrow()
    const kept = Object.keys(pool.objectives!)
    expect(kept).toEqual(expect.arrayContaining(['known', 'o100', 'o119', 'o200', 'o202']))
    expect(kept).toHaveLength(24)
    expect(warnings).toHaveLength(37)
    expect(formatProblem(warnings[0]!)).toContain('a pool has at most 64 priorities')
  })

  it('are an error where the bands alone are too many', () => {
    expect(problemsOf(`${ON}${bands(63)}`)).toEqual([])
    expect(problemsOf(`${ON}${bands(64)}`)).toEqual([expect.stringContaining('at most 63 bands are supported')])
  })
})

describe('admission without flow control', () => {
  it('costs nothing where no objective is below 0', () => {
    expect(poolOf(`${CONFIG}plugins: []\n`, objective('high', 5)).scheduling.admission).toBeUndefined()
  })

  it('refuses by the configured detector and admitters where one is', () => {
    expect(poolOf(`${CONFIG}plugins: []\n`, objective('batch', -1)).scheduling.admission).toMatchObject({
      saturation: { type: 'utilization-detector' },
      admitters: [],
    })
    const config = `${CONFIG}plugins:
- { type: queue-scorer }
- { type: probabilistic-admitter, parameters: { k: 10 } }
- { type: utilization-detector, parameters: { queueDepthThreshold: 9 } }
flowControl: { saturationDetector: { pluginRef: utilization-detector } }
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: queue-scorer }] }]
`
    const { plan, errors, warnings } = compiled(config, objective('batch', -1))
    expect(errors).toEqual([])
    expect(warnings.map(formatProblem)).toEqual([expect.stringContaining('without the feature gate flowControl only')])
    expect(plan.pools[0]!.scheduling.admission).toMatchObject({
      saturation: { type: 'utilization-detector', parameters: { queueDepthThreshold: 9 } },
      admitters: [{ type: 'probabilistic-admitter', parameters: { k: 10, power: 5 } }],
    })
  })

  it('latency-slo-admitter stands with predictions; an objective of a pool that is not there is told', () => {
    expect(problemsOf(`${CONFIG}plugins: [{ type: latency-slo-admitter }, { type: queue-scorer }]\n`)).toEqual([])
    expect(problemsOf(`${CONFIG}plugins: []\n`, objective('lost', 1, { pool: 'other' }))).toEqual([
      expect.stringContaining('there is no InferencePool default/other: the objective has no effect'),
    ])
  })
})
