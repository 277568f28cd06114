import { describe, expect, it } from '@jest/globals'
import { pickedPool } from '../../test/support/picked-pool.ts'
import { formatProblem } from '../config/problem.ts'
import { readTexts } from '../config/object-set.ts'
import { Profiles } from '../inference/scheduling/profiles.ts'
import { compileSet } from './compile.ts'

const POOL = pickedPool()
const CONFIG = 'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n'
const TWO = `
schedulingProfiles:
- { name: prefill, plugins: [{ pluginRef: prefill-filter }, { pluginRef: queue-scorer, weight: 2 }] }
- { name: decode, plugins: [{ pluginRef: decode-filter }, { pluginRef: queue-scorer }] }
`
const FILTERS = '- type: prefill-filter\n- type: decode-filter\n- type: queue-scorer\n'

function compiled(config: string) {
  const set = readTexts([
    { file: 'pool.yaml', text: POOL },
    { file: 'picker.yaml', text: CONFIG + config },
  ])
  const { plan, errors, warnings } = compileSet(set, {
    extProc: { addresses: ['127.0.0.1:1'] },
    defaultPool: 'default/p',
  })
  const told = (problems: typeof errors) =>
    problems.map(problem => formatProblem(problem).replace(/^.*EndpointPickerConfig default\/default: /, ''))
  return { plan, errors: told(errors), warnings: told(warnings) }
}

function scheduling(config: string, expectedWarnings: readonly string[] = []) {
  const { plan, errors, warnings } = compiled(config)
  expect(errors).toEqual([])
  expect(warnings).toEqual(expectedWarnings.map(each => expect.stringContaining(each)))
  const found = structuredClone(plan).pools[0]!.scheduling
  expect(() => new Profiles(found)).not.toThrow()
  return found
}

describe('disagg-profile-handler', () => {
  it('the decode profile is the primary one; prefill and encode are run by it', () => {
    const found = scheduling(`plugins:
- type: disagg-profile-handler
  parameters: { deciders: { prefill: pd, encode: always-disagg-multimodal-decider } }
- { type: prefix-based-pd-decider, name: pd, parameters: { nonCachedTokens: 512, promptTokens: 1024 } }
- type: always-disagg-multimodal-decider
- type: encode-filter
- { type: random-picker, parameters: { maxNumOfEndpoints: 3 } }
${FILTERS}${TWO}- { name: encode, plugins: [{ pluginRef: encode-filter }, { pluginRef: random-picker }] }
`)
    expect(found).toMatchObject({
      profileName: 'decode',
      filters: [{ type: 'decode-filter' }],
      scorers: [{ type: 'queue-scorer', weight: 1 }],
      maxEndpoints: 1,
      profiles: [
        { name: 'prefill', maxEndpoints: 1, scorers: [{ type: 'queue-scorer', weight: 2 }] },
        { name: 'encode', maxEndpoints: 3, picker: { type: 'random-picker' } },
      ],
      handler: {
        type: 'disagg-profile-handler',
        deciders: {
          pd: { type: 'prefix-based-pd-decider', parameters: { nonCachedTokens: 512, promptTokens: 1024 } },
          'always-disagg-multimodal-decider': { type: 'always-disagg-multimodal-decider' },
        },
      },
    })
  })

  it('prompts are read as far as the deciders look', () => {
    const entry = (decider: string, parameters = '{}') =>
      compiled(`plugins:
- { type: disagg-profile-handler, parameters: { deciders: { prefill: ${decider} } } }
- { type: ${decider}, parameters: ${parameters} }
${FILTERS}${TWO}`).plan.entries[0]!
    expect(entry('always-disagg-pd-decider')).toMatchObject({ prefixBytes: 0 })
    expect(entry('prefix-based-pd-decider')).toMatchObject({ prefixBytes: 0 })
    expect(entry('prefix-based-pd-decider', '{ nonCachedTokens: 16 }')).toMatchObject({ prefixBytes: 32_768 + 64 })
    expect(entry('prefix-based-pd-decider', '{ nonCachedTokens: 16, promptTokens: 50 }')).toMatchObject({
      prefixBytes: 32_768 + 200,
    })
  })

  it('the former flat parameters mean the same, with a warning each', () => {
    const found = scheduling(
      `plugins:
- type: disagg-profile-handler
  parameters: { decodeProfile: d, prefillProfile: p, deciderPluginName: always-disagg-pd-decider }
- type: always-disagg-pd-decider
${FILTERS}${TWO.replace('name: prefill', 'name: p').replace('name: decode', 'name: d')}`,
      ['is called profiles.decode now', 'is called profiles.prefill now', 'is called deciders.prefill now'],
    )
    expect(found).toMatchObject({ profileName: 'd', profiles: [{ name: 'p' }] })
    expect(found.handler!.parameters).toEqual({
      stageOrder: 'decode-first',
      profiles: { decode: 'd', prefill: 'p', encode: 'encode' },
      deciders: { prefill: 'always-disagg-pd-decider' },
    })
  })

  it('prefill-first needs no decider, and may have none', () => {
    const first = (parameters: string) => `plugins:
- { type: disagg-profile-handler, parameters: ${parameters} }
- type: always-disagg-pd-decider
${FILTERS}${TWO}`
    expect(scheduling(first('{ stageOrder: prefill_First }'), ['does not refer to the decider'])).toMatchObject({
      profiles: [{ name: 'prefill' }],
      handler: { parameters: { stageOrder: 'prefill-first' } },
    })
    const both = '{ stageOrder: prefill-first, deciders: { prefill: always-disagg-pd-decider } }'
    expect(compiled(first(both)).errors).toEqual([expect.stringContaining('prefill-first has no prefill decider')])
    expect(compiled(first('{ stageOrder: encode-first }')).errors).toHaveLength(1)
  })

  it('without a decider or a profile a stage never runs: a warning', () => {
    const plain = scheduling(`plugins:\n- type: disagg-profile-handler\n${FILTERS}${TWO}`, [
      'schedulingProfiles[0]: never runs: the profile handler has no prefill decider',
    ])
    expect(plain.profiles).toBeUndefined()
    scheduling(
      `plugins:
- { type: disagg-profile-handler, parameters: { deciders: { encode: always-disagg-multimodal-decider, prefill: always-disagg-pd-decider } } }
- type: always-disagg-multimodal-decider
- type: always-disagg-pd-decider
${FILTERS}${TWO}- { name: other, plugins: [] }
`,
      [
        'deciders.encode: has no effect: there is no profile "encode"',
        'schedulingProfiles[2]: never runs: the profile handler does not know it',
      ],
    )
  })

  it('what it refers to must be there, and be a decider', () => {
    const { errors } = compiled(`plugins:
- { type: disagg-profile-handler, parameters: { profiles: { decode: dekode }, deciders: { prefill: always, encode: queue-scorer } } }
${FILTERS}${TWO}- { name: decode, plugins: [] }
`)
    expect(errors).toEqual([
      expect.stringContaining('there is no profile "dekode" (did you mean "decode"?)'),
      expect.stringContaining('deciders.prefill: there is no plug-in "always"'),
      expect.stringContaining('deciders.encode: "queue-scorer" is a scorer, and no decider'),
      expect.stringContaining('a second profile "decode"'),
    ])
    expect(
      compiled(`plugins:
- { type: disagg-profile-handler, parameters: { decodeProfile: decode, deciders: {} } }
${FILTERS}${TWO}`).errors,
    ).toEqual([expect.stringContaining('use one form or the other')])
  })
})

describe('handlers of one profile', () => {
  it('several profiles need a handler that runs several', () => {
    const several = (handler: string) => compiled(`plugins:\n${handler}${FILTERS}${TWO}`).errors
    expect(several('')).toEqual([
      expect.stringContaining('schedulingProfiles[1]: several profiles need a profile handler'),
    ])
    expect(several('- type: single-profile-handler\n')).toEqual([
      expect.stringContaining('single-profile-handler runs one profile; disagg-profile-handler and'),
    ])
    expect(several('- type: data-parallel-profile-handler\n')).toHaveLength(1)
  })

  it('a profile may have any name', () => {
    const found = scheduling(
      'plugins:\n- type: queue-scorer\nschedulingProfiles: [{ name: mine, plugins: [{ pluginRef: queue-scorer }] }]\n',
    )
    expect(found).toMatchObject({ profileName: 'mine', scorers: [{ type: 'queue-scorer' }] })
    expect(found.handler).toBeUndefined()
  })

  it('data-parallel-profile-handler is deprecated, and has a port', () => {
    const found = scheduling(`plugins:\n- type: data-parallel-profile-handler\n- type: queue-scorer\n`, [
      'is deprecated',
    ])
    expect(found.handler).toMatchObject({ type: 'data-parallel-profile-handler', parameters: { primaryPort: 8000 } })
    const bad = 'plugins:\n- { type: data-parallel-profile-handler, parameters: { primaryPort: 70000 } }\n'
    expect(compiled(bad).errors).toEqual([expect.stringContaining('must be at most 65535')])
  })
})

describe('header-profile-handler', () => {
  it('any profile may be asked for', () => {
    const found = scheduling(
      `plugins:\n- { type: header-profile-handler, parameters: { headerName: X-Phase } }\n${FILTERS}${TWO}`,
    )
    expect(found).toMatchObject({
      profileName: 'decode',
      profiles: [{ name: 'prefill' }],
      handler: { parameters: { headerName: 'X-Phase', defaultProfile: 'decode' } },
    })
  })

  it('without its default profile it warns, and refuses who asks for none', () => {
    const found = scheduling(
      `plugins:
- { type: header-profile-handler, parameters: { defaultProfile: encode } }
${FILTERS}${TWO}`,
      ['there is no profile "encode"'],
    )
    expect(found).toMatchObject({ profileName: 'prefill', profiles: [{ name: 'decode' }] })
  })
})

it('the deprecated headers handlers have no effect, and say so', () => {
  const { errors, warnings } = compiled(`plugins:
- type: disagg-headers-handler
- { type: prefill-header-handler, parameters: { prefillProfile: prefill } }
- type: queue-scorer
`)
  expect(errors).toEqual([])
  expect(warnings).toEqual([
    expect.stringContaining('plugins[0].type: "disagg-headers-handler" is deprecated: has no effect'),
    expect.stringContaining('"prefill-header-handler" is called "disagg-headers-handler" now'),
    expect.stringContaining('plugins[1].type: "prefill-header-handler" is deprecated'),
  ])
})

it('pd-profile-handler needs its decider, by its default name too', () => {
  const pd = (parameters: string, plugins = '') =>
    compiled(`plugins:\n- { type: pd-profile-handler, parameters: ${parameters} }\n${plugins}${FILTERS}${TWO}`)
  expect(pd('{}').errors).toEqual([expect.stringContaining('there is no plug-in "prefix-based-pd-decider"')])
  const { plan, errors, warnings } = pd(
    '{ primaryPort: 8080, prefixPluginType: prefix-cache-scorer }',
    '- type: prefix-based-pd-decider\n',
  )
  expect(errors).toEqual([])
  expect(warnings).toEqual([
    expect.stringContaining('say disagg-profile-handler'),
    expect.stringContaining('"prefixPluginType" is deprecated: has no effect'),
  ])
  expect(plan.pools[0]!.scheduling.handler).toMatchObject({ parameters: { primaryPort: 8080 } })
})
