import { describe, expect, it } from '@jest/globals'
import { pickedPool } from '../../test/support/picked-pool.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { Profiles } from '../inference/scheduling/profiles.ts'
import { compileSet } from './compile.ts'

function compiled(plugins: string) {
  const text = `apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n${plugins}`
  const set = readTexts([
    { file: 'pool.yaml', text: pickedPool() },
    { file: 'picker.yaml', text },
  ])
  const { plan, errors, warnings } = compileSet(set, {
    extProc: { addresses: ['127.0.0.1:1'] },
    defaultPool: 'default/p',
  })
  const { scheduling } = structuredClone(plan).pools[0]!
  expect(() => new Profiles(scheduling)).not.toThrow()
  return { entry: plan.entries[0]!, scheduling, problems: [...errors, ...warnings].map(formatProblem) }
}

const SCORER =
  '- { type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: burst-prefix-cache-producer } }'
const bursts = (parameters = '{}', more = '') =>
  compiled(`- { type: burst-prefix-cache-producer, parameters: ${parameters} }\n${SCORER}\n${more}`)

describe('burst-prefix-cache-producer', () => {
  it('has llm-d’s defaults, and prompts are read as far as it looks', () => {
    const { entry, scheduling, problems } = bursts()
    expect(problems).toEqual([])
    expect(scheduling.bursts).toEqual({
      producer: 'burst-prefix-cache-producer',
      windowMs: 100,
      maxPerReplica: 0,
      stride: 1,
      maxBlocks: 2048,
      minColocateBlocks: 0,
      maxHeld: 1000,
      balanceBy: 'requests',
      profile: 0,
    })
    expect(entry.prefixBytes).toBe(2048 * 256)
  })

  it('its parameters', () => {
    const given =
      '{ windowDurationMs: 20, maxPerReplica: 4, blockSizeTokens: 128, maxPrefixTokensToMatch: 1000, minColocateBlocks: 3, maxBatchSize: 10, balanceBy: tokens }'
    expect(bursts(given).scheduling.bursts).toMatchObject({
      windowMs: 20,
      maxPerReplica: 4,
      stride: 2,
      maxBlocks: 7,
      minColocateBlocks: 3,
      maxHeld: 10,
      balanceBy: 'tokens',
    })
    // Of small blocks four are one.
    expect(bursts('{ blockSizeTokens: 16, minColocateBlocks: 6 }').scheduling.bursts).toMatchObject({
      stride: 1,
      minColocateBlocks: 2,
    })
    expect(bursts('{ maxBatchSize: -1, balanceBy: "" }').scheduling.bursts).toMatchObject({
      maxHeld: 4096,
      balanceBy: 'requests',
    })
  })

  it('an own maximum of the pool’s prefix cache holds for it too', () => {
    const own = '- { type: approx-prefix-cache-producer, parameters: { maxPrefixTokensToMatch: 1000 } }'
    expect(bursts('{}', own).entry.prefixBytes).toBe(4000)
  })

  it('places are found in the first profile that asks', () => {
    const { scheduling, problems } = compiled(`
- { name: bursts, type: burst-prefix-cache-producer }
- { name: asks, type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: bursts } }
- { type: queue-scorer }
- { type: prefill-filter }
- { type: decode-filter }
- { type: disagg-profile-handler, parameters: { deciders: { prefill: always-disagg-pd-decider } } }
- { type: always-disagg-pd-decider }
schedulingProfiles:
- { name: prefill, plugins: [{ pluginRef: prefill-filter }, { pluginRef: asks }] }
- { name: decode, plugins: [{ pluginRef: decode-filter }, { pluginRef: queue-scorer }] }
`)
    expect(problems).toEqual([])
    expect(scheduling.bursts).toMatchObject({ producer: 'bursts', profile: 1 })
  })

  it.each([
    [bursts('{ windowDurationMs: 0 }'), /windowDurationMs: must be at least 1/],
    [bursts('{ windowDurationMs: 20000 }'), /windowDurationMs: must be at most 10000/],
    [bursts('{ maxPerReplica: 0 }'), /maxPerReplica: must be -1 \(any number\) or at least 1/],
    [bursts('{ maxBatchSize: -2 }'), /maxBatchSize: must be -1/],
    [bursts('{ balanceBy: bytes }'), /balanceBy: must be requests or tokens/],
    [bursts('{ maxPrefixTokensToMatch: 63 }'), /maxPrefixTokensToMatch: must be 0 or at least blockSizeTokens/],
    [bursts('{ blockSizeTokens: 100 }'), /blockSizeTokens: must be a multiple of 64, .* \(not-supported\)/],
    [bursts('{ maxBatchSize: 5000 }'), /warning: .*maxBatchSize: 4096 requests wait on a thread at most/],
    [bursts('{}', '- { name: second, type: burst-prefix-cache-producer }'), /only one burst-prefix-cache-producer/],
    [compiled(SCORER), /there is no burst-prefix-cache-producer "burst-prefix-cache-producer"/],
    [compiled('- type: burst-prefix-cache-producer\n- type: queue-scorer'), /warning: .*no request waits \(unused\)/],
  ])('what is wrong is told (%#)', ({ problems }, expected) => {
    expect(problems).toEqual([expect.stringMatching(expected)])
  })

  it('nobody waits who is not asked to', () => {
    const { scheduling } = compiled('- type: burst-prefix-cache-producer\n- type: queue-scorer')
    expect(scheduling.bursts).toBeUndefined()
  })
})

describe('token-producer: estimate', () => {
  const estimate = (parameters: string, scorer = 'prefix-cache-scorer') =>
    compiled(`- { type: token-producer, parameters: ${parameters} }\n- type: ${scorer}`)

  it('is there where it is said and somebody looks at prompts', () => {
    const { entry, problems } = estimate('{ estimate: { image: { dynamic: { factor: 784 } } } }')
    expect(problems).toEqual([])
    expect(entry.mediaTokens).toMatchObject({
      image: { tokens: 0, width: 640, height: 360, pixelsPerToken: 784 },
      video: { seconds: 10, framesPerSecond: 2 },
    })
    expect(estimate('{}').entry.mediaTokens).toBeUndefined()
    const named = estimate('{ backend: estimate }')
    expect(named.problems).toEqual([])
    expect(named.entry.mediaTokens).toEqual(estimate('{ estimate: {} }').entry.mediaTokens)
    expect(named.entry.mediaTokens).toBeDefined()
    expect(estimate('{ estimate: {} }', 'queue-scorer').entry.mediaTokens).toBeUndefined()
  })

  it.each([
    ['{ estimate: { image: { mode: fixed } } }', /estimate.image.mode: must be dynamic or static/],
    ['{ estimate: { video: { frames: { mode: dynamic } } } }', /video.frames.mode: must be sampled or strided/],
    ['{ estimate: { audio: {} } }', /unknown field "audio"/],
    ['{ estimate: { image: { dynamic: { factor: -1 } } } }', /factor: must be at least 0/],
    ['{ estimate: {}, vllm: {} }', /estimate: must not stand beside vllm/],
    ['{ backend: estimate, vllm: {} }', /backend: estimate needs no model/],
    ['{ backend: estimate, modelName: m }', /backend: estimate needs no model/],
    ['{ udsTokenizerConfig: { socketFile: /s } }', /udsTokenizerConfig.*sockets of the old tokenizer/],
    ['{ estimate: {}, backend: vllm }', /estimate: must not stand beside vllm/],
  ])('%s', (parameters, expected) => {
    expect(estimate(parameters).problems).toEqual([expect.stringMatching(expected)])
  })
})
