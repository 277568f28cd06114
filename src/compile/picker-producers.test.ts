import { describe, expect, it } from '@jest/globals'
import { pickedPool } from '../../test/support/picked-pool.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { Profiles } from '../inference/scheduling/profiles.ts'
import { compileSet } from './compile.ts'

const POOL = pickedPool()

function compiled(plugins: string) {
  const text = `apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n${plugins}`
  const set = readTexts([
    { file: 'pool.yaml', text: POOL },
    { file: 'picker.yaml', text },
  ])
  const { plan, errors, warnings } = compileSet(set, {
    extProc: { addresses: ['127.0.0.1:1'] },
    defaultPool: 'default/p',
  })
  return { plan, problems: [...errors, ...warnings].map(formatProblem) }
}

function scheduling(plugins: string) {
  const { plan, problems } = compiled(plugins)
  expect(problems).toEqual([])
  const found = structuredClone(plan).pools[0]!.scheduling
  expect(() => new Profiles(found)).not.toThrow()
  return found
}

const prefixBytes = (plugins: string) => compiled(plugins).plan.entries[0]!.prefixBytes

describe('prefix caches', () => {
  it('tiered-prefix-cache-cpu: a second one, with the default one made', () => {
    const found = scheduling(`
- type: token-producer
- type: approx-prefix-cache-producer
  name: cpu-prefix-cache-producer
  parameters: { autoTune: false, lruCapacityPerServer: 1000 }
- type: queue-scorer
- type: kv-cache-utilization-scorer
- { type: prefix-cache-scorer, name: gpu-prefix-cache-scorer }
- type: prefix-cache-scorer
  name: cpu-prefix-cache-scorer
  parameters: { prefixMatchInfoProducerName: cpu-prefix-cache-producer }
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: queue-scorer, weight: 2 }
  - { pluginRef: kv-cache-utilization-scorer, weight: 2.0 }
  - { pluginRef: gpu-prefix-cache-scorer, weight: 1.0 }
  - { pluginRef: cpu-prefix-cache-scorer, weight: 1.0 }
`)
    expect(found).toMatchObject({
      prefixBlocksPerEndpoint: 31_250,
      prefixCaches: [{ name: 'cpu-prefix-cache-producer', stride: 1, blocksPerEndpoint: 1000 }],
    })
    expect(found.scorers).toHaveLength(4)
  })

  it('have blocks that are made of those of the default one', () => {
    const plugins = (tokens: number) => `
- { type: approx-prefix-cache-producer, parameters: { blockSizeTokens: 128, maxPrefixBlocksToMatch: 100 } }
- { type: approx-prefix-cache-producer, name: large, parameters: { blockSizeTokens: ${tokens}, maxPrefixTokensToMatch: 4096, maxPrefixBlocksToMatch: 1 } }
- { type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: large } }
`
    expect(scheduling(plugins(512))).toMatchObject({
      prefixBlockBytes: 512,
      prefixBytes: 51_200,
      prefixCaches: [{ name: 'large', stride: 4, bytes: 16_384 }],
    })
    expect(compiled(plugins(500)).problems).toEqual([
      expect.stringMatching(/plugins\[1\].parameters.blockSizeTokens: must be a multiple of 128/),
    ])
  })

  it('that nobody names are told', () => {
    expect(compiled('- { type: approx-prefix-cache-producer, name: spare }\n- type: queue-scorer\n').problems).toEqual([
      expect.stringMatching(/plugins\[0\]: no plug-in has prefixMatchInfoProducerName: spare \(unused\)/),
    ])
  })
})

describe('data producers', () => {
  it('that plug-ins need are made, with what those need', () => {
    for (const type of ['token-load-scorer', 'prefix-cache-affinity-filter']) {
      const found = scheduling(`- type: ${type}\n`)
      expect(found.producers?.map(({ name }) => name)).toEqual(['inflight-load-producer'])
      expect(prefixBytes(`- type: ${type}\n`)).toBeGreaterThan(0)
    }
  })

  it('that are declared count, and are not at work for nobody', () => {
    const declared = '- { type: inflight-load-producer, name: load, parameters: { outputRatio: 2 } }\n'
    expect(scheduling(`${declared}- type: token-load-scorer\n`).producers).toEqual([
      { name: 'load', type: 'inflight-load-producer', parameters: expect.objectContaining({ outputRatio: 2 }) },
    ])
    expect(scheduling(`${declared}- type: active-request-scorer\n`).producers).toBeUndefined()
    expect(prefixBytes(`${declared}- type: active-request-scorer\n`)).toBe(0)
  })

  it('that count answers have bodies searched for caps of them, and no others', () => {
    const counting = (parameters: string) =>
      compiled(`- { type: inflight-load-producer, parameters: ${parameters} }\n- type: token-load-scorer\n`).plan
        .entries[0]!
    expect(counting('{ addEstimatedOutputTokens: true }')).toHaveProperty('outputCap', true)
    expect(counting('{ outputRatio: 2 }')).not.toHaveProperty('outputCap')
    expect(compiled('- type: queue-scorer\n').plan.entries[0]!).not.toHaveProperty('outputCap')
  })

  it('of which there may be one only', () => {
    const two = '- { type: inflight-load-producer, name: a }\n- { type: inflight-load-producer, name: b }\n'
    expect(compiled(`${two}- type: queue-scorer\n`).problems).toEqual([
      expect.stringMatching(/plugins\[1\]: only one inflight-load-producer is supported yet; there is "a"/),
    ])
  })

  it('that predict are made where a plug-in goes by predictions, and endpoints tell how long tokens take', () => {
    for (const plugins of ['- type: latency-scorer\n', '- type: latency-slo-admitter\n- type: queue-scorer\n']) {
      const { problems, plan } = compiled(plugins)
      expect(problems).toEqual([])
      const { scheduling, scrape } = plan.pools[0]!
      expect(scheduling.producers?.map(({ type }) => type)).toContain('predicted-latency-producer')
      expect(scrape.tokenTimes).toBe(true)
    }
    expect(compiled('- type: queue-scorer\n').plan.pools[0]!.scrape.tokenTimes).toBeUndefined()
  })

  it('that would ask sidecars say which of their parameters change nothing', () => {
    const parameters = '{ samplingMean: 10, contextTTL: 5m, endpointRoleLabel: r, streamingMode: true }'
    const { problems } = compiled(
      `- { type: predicted-latency-producer, parameters: ${parameters} }\n- type: latency-scorer\n`,
    )
    expect(problems).toEqual(
      ['samplingMean', 'contextTTL', 'endpointRoleLabel'].map(name =>
        expect.stringMatching(new RegExp(`parameters.${name}: has no effect: `)),
      ),
    )
  })

  it('bodies are read for the length of prompts alone', () => {
    expect(prefixBytes('- type: context-length-aware\n')).toBeGreaterThan(0)
    expect(prefixBytes('- type: queue-scorer\n')).toBe(0)
  })
})

it('context-length-aware is a filter too, where it is told so', () => {
  const found = scheduling('- { type: context-length-aware, parameters: { enableFiltering: true } }\n')
  expect(found.filters).toEqual([expect.objectContaining({ type: 'context-length-aware' })])
  expect(found.scorers).toEqual([expect.objectContaining({ type: 'context-length-aware' })])
  expect(scheduling('- type: context-length-aware\n').filters).toEqual([])
})

it('plug-ins that go by places know the labels of their extractor', () => {
  const plugins = (name: string) => `
- { type: topology-extractor, name: ours, parameters: { rack: nvlink } }
- { type: topology-affinity-scorer, parameters: { topologyProducerName: ${name} } }
- type: topology-affinity-filter
`
  const found = scheduling(plugins('ours'))
  expect(found.scorers[0]).toMatchObject({
    parameters: { labels: { rack: 'nvlink', hostname: 'kubernetes.io/hostname' } },
  })
  expect(found.filters?.[0]?.parameters).not.toHaveProperty('labels')
  expect(compiled(plugins('theirs')).problems).toEqual([
    expect.stringMatching(/plugins\[1\].parameters.topologyProducerName: there is no topology-extractor "theirs"/),
  ])
})

it('sessions of producers are found where they are looked for', () => {
  const plugins = (source: string, more = '') => `
- { type: session-id-producer, name: ours, parameters: { cookieName: sid } }
- { type: session-affinity-scorer, parameters: { strategy: session_id, sessionIdConfig: { sources: [${source}], evictionTtlSeconds: 60${more} } } }
`
  expect(scheduling(plugins('{ attribute: SessionIDDataKey, producer: ours }')).producers).toHaveLength(1)
  expect(compiled(plugins('{ attribute: theirs }')).problems).toEqual([
    expect.stringMatching(/sessionIdConfig.sources\[0\]: there is no session-id-producer "theirs"/),
  ])
  expect(compiled(plugins('{ header: a }', ', evictionSweepSeconds: 5')).problems).toEqual([
    expect.stringMatching(/evictionSweepSeconds: has no effect: sessions age without being swept/),
  ])
  expect(compiled(plugins('{ header: a, attribute: ours }')).problems).toEqual([
    expect.stringMatching(/needs either header or attribute/),
  ])
})

it("sessions go by the agent's identity where there is a plug-in that finds it", () => {
  const plugins = (agents: string) => `
${agents}
- type: session-affinity-scorer
  parameters:
    strategy: session_id
    sessionIdConfig: { sources: [{ header: x-session-id }, { attribute: agent-identity }] }
`
  const found = scheduling(plugins('- { type: agent-identity, parameters: { additionalSessionHeaders: [X-Mine] } }'))
  const headers = [
    'x-session-id',
    'x-mine',
    'x-claude-code-session-id',
    'x-session-affinity',
    'session-id',
    'session_id',
  ]
  expect(found.scorers[0]!.parameters).toMatchObject({
    sessionIdConfig: { sources: headers.map(header => ({ header })) },
  })
  expect(compiled(plugins('')).problems).toEqual([
    expect.stringMatching(/sources\[1\]: has no effect: there is no plug-in agent-identity/),
  ])
})

it('a session comes from a header or a cookie', () => {
  const plugins = (parameters: string) =>
    `- { type: session-id-producer, parameters: ${parameters} }\n- type: queue-scorer\n`
  expect(scheduling(plugins('{ cookieName: sid }')).producers).toEqual([
    { name: 'session-id-producer', type: 'session-id-producer', parameters: { cookieName: 'sid' } },
  ])
  for (const wrong of ['{}', '{ headerName: a, cookieName: b }'])
    expect(compiled(plugins(wrong)).problems).toEqual([expect.stringMatching(/needs either headerName or cookieName/)])
})
