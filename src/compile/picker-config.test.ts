import { describe, expect, it } from '@jest/globals'
import { pickedPool } from '../../test/support/picked-pool.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { Profiles } from '../inference/scheduling/profiles.ts'
import { documents, GATEWAY, poolYaml, routeYaml } from '../../test/support/pool-config.ts'
import { compileSet } from './compile.ts'

const CONFIG = 'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n'

function compiled(config: string, pool = pickedPool()) {
  const set = readTexts([
    { file: 'pool.yaml', text: pool },
    { file: 'picker.yaml', text: config },
  ])
  return compileSet(set, { extProc: { addresses: ['127.0.0.1:1'] }, defaultPool: 'default/p' })
}

/** The pool's scheduling under a configuration without problems, which every worker must be able to link. */
function scheduling(config: string, pool?: string) {
  const { plan, errors, warnings } = compiled(config, pool)
  expect([...errors, ...warnings].map(formatProblem)).toEqual([])
  const found = structuredClone(plan).pools[0]!.scheduling
  expect(() => new Profiles(found)).not.toThrow()
  return found
}

const errorsOf = (config: string) => compiled(config).errors.map(formatProblem)

describe('the well-known configurations', () => {
  it('optimized-baseline', () => {
    const found = scheduling(`${CONFIG}
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: no-hit-lru-scorer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: queue-scorer, weight: 2 }
  - { pluginRef: kv-cache-utilization-scorer, weight: 2.0 }
  - { pluginRef: prefix-cache-scorer, weight: 3 }
  - { pluginRef: no-hit-lru-scorer, weight: 2 }
  - { pluginRef: max-score-picker }
`)
    expect(found.scorers.map(({ type, weight }) => [type, weight])).toEqual([
      ['queue-scorer', 2],
      ['kv-cache-utilization-scorer', 2],
      ['prefix-cache-scorer', 3],
      ['no-hit-lru-scorer', 2],
    ])
    expect(found).toMatchObject({ maxEndpoints: 1, prefixBlockBytes: 256, prefixBlocksPerEndpoint: 31_250 })
  })

  it('without a plug-in: those of llm-d, formulas included', () => {
    expect(scheduling(CONFIG)).toMatchObject({
      scorers: [
        { type: 'queue-scorer', weight: 2, parameters: {} },
        { type: 'kv-cache-utilization-scorer', weight: 2, parameters: {} },
        { type: 'prefix-cache-scorer', weight: 3, parameters: {} },
      ],
      filters: [],
    })
  })

  it('without a profile: one with every filter, scorer and picker', () => {
    const found = scheduling(`${CONFIG}plugins:
- type: single-profile-handler
- { type: decode-filter, name: decoders }
- type: load-aware-scorer
- { type: random-picker, parameters: { maxNumOfEndpoints: 2 } }
- { type: approx-prefix-cache-producer, parameters: { blockSizeTokens: 128, lruCapacityPerServer: 500, maxPrefixTokensToMatch: 1000 } }
`)
    expect(found).toMatchObject({
      filters: [{ type: 'decode-filter', parameters: {} }],
      scorers: [{ type: 'load-aware-scorer', weight: 1, parameters: { threshold: 128 } }],
      picker: { type: 'random-picker' },
      maxEndpoints: 2,
      prefixBlockBytes: 512,
      prefixBlocksPerEndpoint: 500,
      prefixBytes: 4000,
    })
  })

  it('one endpoint is picked, as llm-d does, unless somebody says more', () => {
    const most = (config: string, gateway = true): number => {
      const set = readTexts([{ file: 'a.yaml', text: `${pickedPool()}---\n${config}` }])
      const service = { extProc: { addresses: ['127.0.0.1:1'] } }
      // Where the data plane is ours it takes a list, whose others are for retries.
      const route = `${GATEWAY.replace('@PORT@', '8080')}---${routeYaml({ models: { '': 'p' } })}---\n`
      const own = readTexts([{ file: 'a.yaml', text: `${route}${pickedPool()}---\n${config}` }])
      const { plan, errors } = gateway
        ? compileSet(set, { ...service, gatewayPools: { names: ['default/p'] } })
        : compileSet(own, service)
      expect(errors.map(formatProblem)).toEqual([])
      return plan.pools[0]!.scheduling.maxEndpoints
    }
    const picker = `${CONFIG}plugins: [{ type: max-score-picker, parameters: {} }]\n`
    const parameters = (scheduling: string) => `apiVersion: signalbox.dev/v1alpha1
kind: SignalboxParameters
metadata: { name: settings }
spec: { scheduling: ${scheduling} }
`
    const three = picker.replace('{}', '{ maxNumOfEndpoints: 3 }')
    const cases = [
      picker,
      '',
      parameters('{ maxQueue: 7 }'),
      `${parameters('{ maxEndpoints: 2 }')}---\n${picker}`,
      three,
    ]
    expect(cases.map(config => most(config))).toEqual([1, 1, 1, 2, 3])
    expect(cases.map(config => most(config, false))).toEqual([3, 3, 3, 2, 3])
  })

  it('a pool without a configuration keeps our own scorers', () => {
    const named = CONFIG.replace('kind', 'metadata: { name: other }\nkind')
    const { plan, warnings } = compiled(named)
    expect(plan.pools[0]!.scheduling.scorers.every(({ parameters }) => parameters === undefined)).toBe(true)
    expect(warnings.map(formatProblem)).toEqual([expect.stringContaining('no InferencePool has the annotation')])
  })

  it('a pool may name another one; the older API group means the same', () => {
    const named = `apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
metadata: { name: mine }
plugins: [{ type: queue-scorer }]
`
    const pool = pickedPool('{ signalbox.dev/endpoint-picker-config: mine }')
    expect(scheduling(`${named}---\n${CONFIG}`, pool).scorers.map(({ type }) => type)).toEqual(['queue-scorer'])
    expect(compiled(CONFIG, pool).errors.map(formatProblem)).toEqual([
      expect.stringMatching(/^pool.yaml:4:.*there is no EndpointPickerConfig default\/mine/),
    ])
  })
})

it('the prompt is read as far as the profile looks at it', () => {
  const prefixBytes = (config: string) => compiled(CONFIG + config).plan.entries[0]!.prefixBytes
  expect(prefixBytes('plugins: [{ type: queue-scorer }]')).toBe(0)
  expect(prefixBytes('plugins: [{ type: no-hit-lru-scorer }]')).toBe(32_768)
  const producer = '{ type: approx-prefix-cache-producer, parameters: { maxPrefixTokensToMatch: 100000 } }'
  expect(prefixBytes(`plugins: [{ type: prefix-cache-scorer }, ${producer}]`)).toBe(400_000)
})

it('every error is told at once, at its place', () => {
  const config = `${CONFIG}
plugins:
- type: queue-scorer
- type: queue-scorer
- type: quue-scorer
- { type: burst-prefix-cache-producer, parameters: { maxPerReplica: 0 } }
- { type: load-aware-scorer, parameters: { threshhold: 1 } }
- { type: active-request-scorer, parameters: { maxBusyScore: 2, inFlightLoadProducerName: none } }
- { type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: aprox } }
- { type: session-affinity-scorer, parameters: { strategy: cookie } }
- { name: one, type: single-profile-handler }
- { name: two, type: single-profile-handler }
- { type: max-score-picker }
- { type: random-picker }
featureGates: [flowcontrol, flowControl=maybe]
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorr
  - pluginRef: queue-scorer
  - pluginRef: queue-scorer
  - pluginRef: one
  - pluginRef: max-score-picker
  - pluginRef: random-picker
  - pluginRef: burst-prefix-cache-producer
  - pluginRef: prefix-cache-scorer
`
  const told = errorsOf(config).map(text =>
    text.replace(/^picker.yaml:(\d+):\d+: error: EndpointPickerConfig default\/default: /, '$1 '),
  )
  expect(told).toEqual([
    expect.stringMatching(
      /^6 plugins\[1\].type: a second plug-in "queue-scorer"; a second one of this type needs a name/,
    ),
    expect.stringMatching(
      /^7 plugins\[2\].type: there is no plug-in type "quue-scorer" \(did you mean "queue-scorer"\?\) \(unknown-plugin\)$/,
    ),
    expect.stringMatching(/^8 plugins\[3\].parameters.maxPerReplica: must be -1 \(any number\) or at least 1/),
    expect.stringMatching(/^9 .*unknown field "threshhold" \(did you mean "threshold"\?\) \(unknown-field\)/),
    expect.stringMatching(/^10 plugins\[5\].parameters.maxBusyScore: must be at most 1 \(out-of-range\)/),
    expect.stringMatching(/^11 .*there is no approx-prefix-cache-producer "aprox"/),
    expect.stringMatching(/^12 plugins\[7\].parameters.strategy: .*encoded_endpoint_header/),
    expect.stringMatching(/^14 plugins\[9\]: only one profile handler may be; there is "one"/),
    expect.stringMatching(
      /^17 featureGates\[0\]: there is no feature gate "flowcontrol" \(did you mean "flowControl"\?\)/,
    ),
    expect.stringMatching(/^17 featureGates\[1\]: must be a name/),
    expect.stringMatching(
      /^21 schedulingProfiles\[0\].plugins\[0\].pluginRef: there is no plug-in "queue-scorr" \(did you mean/,
    ),
    expect.stringMatching(/^23 .*"queue-scorer" stands here already/),
    expect.stringMatching(/^24 .*"one" is a profile-handler, and can't stand in a profile/),
    expect.stringMatching(/^26 .*a second picker/),
  ])
})

it('a field that is no field is an error', () => {
  expect(errorsOf(`${CONFIG}pluggins: []\nplugins: [{ typ: a, type: queue-scorer }]\n`)).toEqual([
    expect.stringMatching(/^picker.yaml:3:1: .*unknown field "pluggins" \(did you mean "plugins"\?\)/),
    expect.stringMatching(/^picker.yaml:4:18: .*unknown field "typ" \(did you mean "type"\?\)/),
  ])
})

it('the former place of the parser works, with a warning; the new one counts', () => {
  const plugins =
    'plugins: [{ type: openai-parser }, { type: passthrough-parser }]\nparser: { pluginRef: openai-parser }\n'
  const parsersOf = (text: string) => compiled(`${CONFIG}${text}`).plan.pools[0]!.scheduling.parsers
  expect(parsersOf(plugins)).toEqual(['openai-parser'])
  expect(compiled(`${CONFIG}${plugins}`).warnings.map(formatProblem)).toContainEqual(
    expect.stringContaining('say requestHandler.parsers (deprecated)'),
  )
  const both = `${plugins}requestHandler: { parsers: [{ pluginRef: passthrough-parser }] }\n`
  expect(parsersOf(both)).toEqual(['passthrough-parser'])
  expect(errorsOf(`${CONFIG}plugins: [{ type: queue-scorer }]\nparser: { pluginRef: queue-scorer }\n`)).toEqual([
    expect.stringMatching(/"queue-scorer" is a scorer, and no parser/),
  ])
})

it('what is wrong with an expression on usage is told at its place', () => {
  const errors = (attribute: string) =>
    errorsOf(`${CONFIG}plugins:\n- type: request-attribute-reporter\n  parameters: { attributes: [${attribute}] }\n`)
  expect(errors('{ key: { name: cost }, expression: usage.total_tokens }')).toEqual([])
  expect(errors('')).toEqual([expect.stringContaining('must have exactly one entry')])
  expect(errors('{ key: { name: "" }, expression: "1 +", condition: usage.total_tokens }')).toEqual([
    expect.stringContaining('parameters.attributes[0].key.name'),
    expect.stringMatching(/expression: is no CEL/),
    expect.stringMatching(/condition: must be a boolean/),
  ])
})

it('former names work, with a warning; so does what has no effect', () => {
  const { errors, warnings } = compiled(`${CONFIG}plugins:
- { type: by-label-selector, name: gpus, parameters: { matchLabels: { gpu: a } } }
- type: tokenizer
- type: queue-scorer
featureGates: [haPopulateNonLeaderDatastore=true, flowControl=false]
schedulingProfiles: [{ name: default, plugins: [{ pluginRef: gpus, weight: 1 }] }]
`)
  expect(errors).toEqual([])
  expect(warnings.map(formatProblem)).toEqual([
    expect.stringContaining('"by-label-selector" is called "label-selector-filter" now (deprecated)'),
    expect.stringContaining('"tokenizer" is called "token-producer" now (deprecated)'),
    expect.stringContaining('no profile refers to the scorer "queue-scorer" (unused)'),
    expect.stringContaining('has no effect: every replica knows all endpoints (no-effect)'),
    expect.stringContaining('has no effect: only scorers have a weight (no-effect)'),
  ])
})

it('what wants to read responses is told where they are not to be had: on our own fleet', () => {
  const annotations = { 'signalbox.dev/load-reports': 'Headers' }
  const fleet = `${documents(GATEWAY, poolYaml({ addresses: ['10.0.0.1:1'], annotations }), routeYaml({ models: { m: 'pool' } }))}
---
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: program-aware-fairness
- type: request-attribute-reporter
  parameters: { attributes: [{ key: { name: cost }, expression: usage.total_tokens }] }
featureGates: [flowControl]
flowControl: { defaultPriorityBand: { fairnessPolicyRef: program-aware-fairness } }
`
  const { errors, warnings } = compileSet(readTexts([{ file: 'fleet.yaml', text: fleet.replaceAll('@PORT@', '80') }]), {
    extProc: { addresses: ['127.0.0.1:1'] },
  })
  expect(errors).toEqual([])
  expect(warnings.map(formatProblem)).toEqual([
    expect.stringContaining('request-attribute-reporter of the pool'),
    expect.stringContaining('program-aware-fairness, as far as answers go,'),
  ])
})

it.each(['metrics-extractor', 'queue-scorer', 'file-discovery', 'session-affinity-filter'])(
  'multicluster-%s is known, and refused with the reason',
  type => {
    const config = `${CONFIG}plugins: [{ type: multicluster-${type} }]\n`
    const { errors } = compileSet(readTexts([{ file: 'a.yaml', text: `${pickedPool()}---\n${config}` }]), {
      extProc: { addresses: ['127.0.0.1:1'] },
      defaultPool: 'default/p',
      stableOnly: true,
    })
    // That it is experimental would be no help.
    expect(errors.map(formatProblem)).toEqual([
      expect.stringMatching(/a plug-in type of llm-d that Signalbox does not have: .* choose among clusters/),
    ])
  },
)

it('a type that is like none of ours is told with all that there are', () => {
  const [error] = errorsOf(`${CONFIG}plugins: [{ type: something-of-my-own }]`)
  expect(error).toMatch(/there is no plug-in type "something-of-my-own"; there are .*max-score-picker, .*queue-scorer/)
})
