import { describe, expect, it } from '@jest/globals'
import { pickedPool } from '../../test/support/picked-pool.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { Profiles } from '../inference/scheduling/profiles.ts'
import { compileSet } from './compile.ts'

const POOL = pickedPool()

/** The scheduling of a configuration that has no errors, and what is warned of. */
function compiled(picker: string) {
  const set = readTexts([
    { file: 'pool.yaml', text: POOL },
    { file: 'picker.yaml', text: `apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n${picker}` },
  ])
  const { plan, errors, warnings } = compileSet(set, {
    extProc: { addresses: ['127.0.0.1:1'] },
    defaultPool: 'default/p',
  })
  expect(errors.map(formatProblem)).toEqual([])
  const { scheduling } = plan.pools[0]!
  expect(() => new Profiles(structuredClone(scheduling))).not.toThrow()
  return { scheduling, warnings: warnings.map(formatProblem) }
}

type Scheduling = ReturnType<typeof compiled>['scheduling']

const scorer = (parameters: string, more = '') =>
  compiled(`plugins:\n- { type: prefix-cache-scorer, parameters: ${parameters} }\n${more}`)

describe('prefix-cache-scorer from before there was a producer', () => {
  it('tells the producer that is made', () => {
    const { scheduling, warnings } = scorer(
      '{ hashBlockSize: 512, maxPrefixBlocksToMatch: 256, lruCapacityPerServer: 5000 }',
    )
    expect(scheduling).toMatchObject({
      prefixBlockBytes: 512,
      prefixBlocksPerEndpoint: 5000,
      prefixBytes: 256 * 512,
    })
    expect(warnings).toEqual([
      expect.stringContaining(
        'hashBlockSize" is deprecated: moved to approx-prefix-cache-producer: say blockSizeTokens, a quarter of it, there',
      ),
      expect.stringContaining('approx-prefix-cache-producer: say maxPrefixBlocksToMatch there'),
      expect.stringContaining('approx-prefix-cache-producer: say lruCapacityPerServer there'),
    ])
  })

  it('the name of tokens wins over that of characters, and a block has its least size', () => {
    expect(scorer('{ blockSize: 800, blockSizeTokens: 128 }').scheduling.prefixBlockBytes).toBe(512)
    expect(scorer('{ blockSize: 800 }').scheduling.prefixBlockBytes).toBe(800)
    expect(scorer('{ hashBlockSize: 5 }').scheduling.prefixBlockBytes).toBe(256)
  })

  it('says nothing beside a producer that is declared', () => {
    const more = '- { type: approx-prefix-cache-producer, parameters: { lruCapacityPerServer: 77 } }\n'
    expect(scorer('{ lruCapacityPerServer: 5000 }', more).scheduling.prefixBlocksPerEndpoint).toBe(77)
  })
})

describe('blockSize', () => {
  it('counts as blockSizeTokens of approx-prefix-cache-producer, unless that is given', () => {
    const approx = (parameters: string) =>
      compiled(
        `plugins:\n- type: prefix-cache-scorer\n- { type: approx-prefix-cache-producer, parameters: ${parameters} }`,
      )
    const { scheduling, warnings } = approx('{ blockSize: 128 }')
    expect(scheduling.prefixBlockBytes).toBe(512)
    expect(warnings).toEqual([expect.stringContaining('"blockSize" is deprecated: is called blockSizeTokens now')])
    expect(approx('{ blockSize: 128, blockSizeTokens: 256 }').scheduling.prefixBlockBytes).toBe(1024)
    expect(approx('{ blockSize: 0 }').scheduling.prefixBlockBytes).toBe(256)
  })

  it('counts as blockSizeTokens of precise-prefix-cache-producer, unless that is given', () => {
    const precise = (config: string) =>
      compiled(`plugins:
- { type: token-producer, parameters: { modelName: m, vllm: { url: 'http://127.0.0.1:1' } } }
- { type: precise-prefix-cache-producer, parameters: { tokenProcessorConfig: ${config} } }
- { type: prefix-cache-scorer, parameters: { prefixMatchInfoProducerName: precise-prefix-cache-producer } }`)
    const { scheduling, warnings } = precise('{ blockSize: 64 }')
    expect(scheduling.kvEvents!.blockTokens).toBe(64)
    expect(warnings).toEqual([
      expect.stringMatching(/picker\.yaml:5:\d+: .*tokenProcessorConfig.blockSize" is deprecated/),
    ])
    expect(precise('{ blockSize: 64, blockSizeTokens: 32 }').scheduling.kvEvents!.blockTokens).toBe(32)
    expect(precise('{}').scheduling.kvEvents!.blockTokens).toBe(16)
  })
})

describe('pd-profile-handler from before there were deciders', () => {
  const pd = (parameters: string, more = '') =>
    compiled(`plugins:
- { type: pd-profile-handler, parameters: ${parameters} }
- type: prefix-cache-scorer
- type: prefill-filter
- type: decode-filter
${more}schedulingProfiles:
- { name: prefill, plugins: [{ pluginRef: prefill-filter }, { pluginRef: prefix-cache-scorer }] }
- { name: decode, plugins: [{ pluginRef: decode-filter }, { pluginRef: prefix-cache-scorer }] }
`)

  const deciders = ({ handler }: Scheduling) => Object.values(handler!.deciders)

  it('its threshold makes a decider', () => {
    const { scheduling, warnings } = pd('{ threshold: 10, hashBlockSize: 5 }')
    expect(deciders(scheduling)).toMatchObject([
      { type: 'prefix-based-pd-decider', parameters: { nonCachedTokens: 10 } },
    ])
    expect(warnings).toEqual([
      expect.stringContaining('say disagg-profile-handler'),
      expect.stringContaining('moved to prefix-based-pd-decider: say nonCachedTokens there'),
      expect.stringContaining('hashBlockSize" is deprecated: has no effect'),
    ])
    expect(deciders(pd('{ threshold: 0 }').scheduling)).toMatchObject([{ type: 'always-disagg-pd-decider' }])
  })

  it('a decider that is declared wins', () => {
    const more = '- { type: prefix-based-pd-decider, parameters: { nonCachedTokens: 99 } }\n'
    expect(deciders(pd('{ threshold: 10 }', more).scheduling)).toMatchObject([{ parameters: { nonCachedTokens: 99 } }])
  })
})

it('feature gates that became the rule are warned of', () => {
  const { warnings } = compiled('featureGates: [prepareDataPlugins, dataLayer=true]\nplugins: [{ type: queue-scorer }]')
  expect(warnings).toHaveLength(2)
  for (const warning of warnings) expect(warning).toContain('has no effect: it became the rule')
})

it('precise-prefix-cache-scorer is producer and scorer in one, whatever it is called', () => {
  const { scheduling, warnings } = compiled(
    'plugins: [{ name: kv, type: precise-prefix-cache-scorer, parameters: { tokenProcessorConfig: { blockSizeTokens: 32 } } }]',
  )
  expect(scheduling.scorers).toMatchObject([{ type: 'precise-prefix-cache-scorer', weight: 1 }])
  // By what it asks for its matches.
  expect(scheduling.kvEvents).toMatchObject({ producer: 'precise-prefix-cache-scorer', blockTokens: 32 })
  expect(warnings).toEqual(
    expect.arrayContaining([expect.stringContaining('say precise-prefix-cache-producer, and prefix-cache-scorer')]),
  )
})
