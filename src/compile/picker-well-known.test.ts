import { expect, it } from '@jest/globals'
import { pickedPool } from '../../test/support/picked-pool.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { Profiles } from '../inference/scheduling/profiles.ts'
import { compileSet } from './compile.ts'

const POOL = pickedPool()

interface WellKnown {
  readonly plugins: readonly (string | object)[]
  /** Profile → its plug-ins; a number is the weight of the one before. */
  readonly profiles: Readonly<Record<string, readonly (string | number)[]>>
  readonly rest?: object
  /** Warnings that the configuration deserves. */
  readonly warnings?: readonly string[]
}

const DEPRECATED_HEADERS = '"disagg-headers-handler" is deprecated'

function prefillDecode(prefixWeightOfDecode: number): WellKnown {
  return {
    plugins: [
      'disagg-headers-handler',
      { type: 'disagg-profile-handler', parameters: { deciders: { prefill: 'always-disagg-pd-decider' } } },
      'always-disagg-pd-decider',
      'prefill-filter',
      'decode-filter',
      'prefix-cache-scorer',
      'queue-scorer',
      'kv-cache-utilization-scorer',
      'active-request-scorer',
      'max-score-picker',
    ],
    profiles: {
      prefill: [
        'prefill-filter',
        'prefix-cache-scorer',
        3,
        'queue-scorer',
        2,
        'kv-cache-utilization-scorer',
        2,
        'max-score-picker',
      ],
      decode: [
        'decode-filter',
        'active-request-scorer',
        2,
        'prefix-cache-scorer',
        prefixWeightOfDecode,
        'max-score-picker',
      ],
    },
    warnings: [DEPRECATED_HEADERS],
  }
}

/** The configurations that llm-d's guides bring (epp.md §2.2). */
const CONFIGURATIONS: Readonly<Record<string, WellKnown>> = {
  'optimized-baseline': {
    plugins: [
      'queue-scorer',
      'kv-cache-utilization-scorer',
      'prefix-cache-scorer',
      'no-hit-lru-scorer',
      'max-score-picker',
    ],
    profiles: {
      default: [
        'queue-scorer',
        2,
        'kv-cache-utilization-scorer',
        2,
        'prefix-cache-scorer',
        3,
        'no-hit-lru-scorer',
        2,
        'max-score-picker',
      ],
    },
  },
  'llm-d: deploy/config/epp-burst-prefix-cache-config.yaml': {
    plugins: [
      { type: 'token-producer', parameters: { modelName: 'name/model', vllm: { url: 'http://vllm:8000' } } },
      'single-profile-handler',
      'decode-filter',
      {
        type: 'burst-prefix-cache-producer',
        parameters: { windowDurationMs: 100, maxPerReplica: -1, minColocateBlocks: 0 },
      },
      {
        type: 'prefix-cache-scorer',
        parameters: { prefixMatchInfoProducerName: 'burst-prefix-cache-producer' },
      },
      'load-aware-scorer',
      'max-score-picker',
    ],
    profiles: { default: ['decode-filter', 'prefix-cache-scorer', 2, 'load-aware-scorer', 1, 'max-score-picker'] },
  },
  'tiered-prefix-cache-cpu': {
    plugins: [
      'token-producer',
      {
        type: 'approx-prefix-cache-producer',
        name: 'cpu-prefix-cache-producer',
        parameters: { autoTune: false, lruCapacityPerServer: 1000 },
      },
      'queue-scorer',
      'kv-cache-utilization-scorer',
      { type: 'prefix-cache-scorer', name: 'gpu-prefix-cache-scorer' },
      {
        type: 'prefix-cache-scorer',
        name: 'cpu-prefix-cache-scorer',
        parameters: { prefixMatchInfoProducerName: 'cpu-prefix-cache-producer' },
      },
    ],
    profiles: {
      default: [
        'queue-scorer',
        2,
        'kv-cache-utilization-scorer',
        2,
        'gpu-prefix-cache-scorer',
        1,
        'cpu-prefix-cache-scorer',
        1,
      ],
    },
  },
  'pd-disaggregation': prefillDecode(3),
  'wide-ep-lws': prefillDecode(1),
  'wide-ep-lws, data-parallel': {
    plugins: [
      'token-producer',
      'prefix-based-pd-decider',
      'prefill-header-handler',
      'prefill-filter',
      'decode-filter',
      'prefix-cache-scorer',
      'active-request-scorer',
      'queue-scorer',
      'pd-profile-handler',
    ],
    profiles: {
      prefill: ['prefill-filter', 'prefix-cache-scorer', 3, 'active-request-scorer', 2, 'queue-scorer', 2],
      decode: ['decode-filter', 'active-request-scorer', 1, 'queue-scorer', 1],
    },
    warnings: [
      '"prefill-header-handler" is called "disagg-headers-handler" now',
      '"prefill-header-handler" is deprecated',
      '"pd-profile-handler" is deprecated',
    ],
  },
  'flow-control': {
    plugins: [
      'queue-scorer',
      'kv-cache-utilization-scorer',
      'prefix-cache-scorer',
      'round-robin-fairness-policy',
      'fcfs-ordering-policy',
      {
        type: 'concurrency-detector',
        parameters: { maxConcurrency: 132, concurrencyMode: 'requests', headroom: 0 },
      },
    ],
    profiles: {
      default: ['queue-scorer', 2, 'kv-cache-utilization-scorer', 2, 'prefix-cache-scorer', 3],
    },
    rest: {
      featureGates: ['flowControl'],
      flowControl: {
        saturationDetector: { pluginRef: 'concurrency-detector' },
        maxBytes: '10Gi',
        maxRequests: '1k',
        defaultRequestTTL: '60s',
        priorityBands: [
          [100, '500'],
          [0, '200'],
          [-10, '50'],
        ].map(([priority, maxRequests]) => ({
          priority,
          maxRequests,
          fairnessPolicyRef: 'round-robin-fairness-policy',
          orderingPolicyRef: 'fcfs-ordering-policy',
        })),
      },
    },
  },
  'predicted-latency-slo': {
    plugins: [
      'queue-scorer',
      'kv-cache-utilization-scorer',
      'prefix-cache-scorer',
      { type: 'metrics-data-source', parameters: { insecureSkipVerify: true, path: '/metrics', scheme: 'http' } },
      'core-metrics-extractor',
      { type: 'predicted-latency-producer', parameters: { streamingMode: true } },
      { type: 'prefix-cache-affinity-filter', name: 'strict', parameters: { affinityThreshold: 0.99 } },
      { type: 'prefix-cache-affinity-filter', name: 'loose', parameters: { affinityThreshold: 0.8 } },
      'latency-scorer',
      'weighted-random-picker',
      'slo-headroom-tier-filter',
      'latency-slo-admitter',
    ],
    profiles: {
      default: [
        'predicted-latency-producer',
        'strict',
        'slo-headroom-tier-filter',
        'loose',
        'latency-scorer',
        'weighted-random-picker',
      ],
    },
    warnings: [
      'no profile refers to the scorer "queue-scorer"',
      'no profile refers to the scorer "kv-cache-utilization-scorer"',
      'no profile refers to the scorer "prefix-cache-scorer"',
      '"predicted-latency-producer" is a producer',
    ],
  },
  'payload-agnostic': {
    plugins: ['passthrough-parser', 'active-request-scorer', 'session-affinity-scorer'],
    profiles: { default: ['active-request-scorer', 1, 'session-affinity-scorer', 1] },
    rest: { requestHandler: { parsers: [{ pluginRef: 'passthrough-parser' }] } },
  },
}

function documentOf({ plugins, profiles, rest = {} }: WellKnown): object {
  return {
    apiVersion: 'llm-d.ai/v1alpha1',
    kind: 'EndpointPickerConfig',
    ...rest,
    plugins: plugins.map(each => (typeof each === 'string' ? { type: each } : each)),
    schedulingProfiles: Object.entries(profiles).map(([name, list]) => ({
      name,
      plugins: list.flatMap((each, i) => {
        const weight = list[i + 1]
        if (typeof each === 'number') return []
        return [{ pluginRef: each, ...(typeof weight === 'number' ? { weight } : {}) }]
      }),
    })),
  }
}

it.each(Object.entries(CONFIGURATIONS))('%s loads, and workers can run it', (_, wellKnown) => {
  const set = readTexts([
    { file: 'pool.yaml', text: POOL },
    { file: 'picker.yaml', text: JSON.stringify(documentOf(wellKnown)) },
  ])
  const { plan, errors, warnings } = compileSet(set, {
    extProc: { addresses: ['127.0.0.1:1'] },
    defaultPool: 'default/p',
  })
  expect(errors.map(formatProblem)).toEqual([])
  expect(warnings.map(formatProblem)).toEqual((wellKnown.warnings ?? []).map(each => expect.stringContaining(each)))
  const { scheduling } = structuredClone(plan).pools[0]!
  expect(() => new Profiles(scheduling)).not.toThrow()
  const profiles = [scheduling, ...(scheduling.profiles ?? [])]
  expect(profiles).toHaveLength(Object.keys(wellKnown.profiles).length)
})
