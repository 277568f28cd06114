import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { makeTempFolder, type TempFolder } from '../../test/support/temp-folder.ts'
import { readTexts } from '../config/object-set.ts'
import { loadUserPlugins } from '../inference/scheduling/plugins/user-plugins.ts'
import { compileSet } from './compile.ts'

const MODULE = `
const none = () => ({})
export const plugins = kit => [
  kit.dataSource('page-source', { heat: kit.z.string() }, ({ heat }) => ({ path: '/own', intervalMs: 20, metrics: { heat } })),
  kit.dataSource('odd-source', {}, () => ({ path: 'own' })),
  kit.dataSource('throwing-source', {}, () => { throw new Error('no luck') }),
  kit.dataSource('both-source', {}, () => ({ path: '/', metrics: { a: 'b' }, extract: none })),
  kit.saturationDetector('own-detector', {}, () => ({ saturation: () => 0 })),
  kit.saturationDetector('needy-detector', { most: kit.z.number() }, () => ({ saturation: () => 0 })),
  kit.fairness('own-fairness', {}, none),
  kit.producer('own-producer', { of: kit.z.string() }, () => ({ produce() {} })),
  kit.requestHook('own-hook', {}, none),
]`

let folder: TempFolder
beforeAll(async () => {
  folder = await makeTempFolder()
  const file = join(folder.path, 'own.mjs')
  await writeFile(file, MODULE)
  await loadUserPlugins([file])
})
afterAll(() => folder.remove())

function compiled(config: string) {
  const text = `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: p }
spec: { selector: { matchLabels: { pool: p } }, targetPorts: [{ number: 80 }] }
---
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
${config}`
  const options = { extProc: { addresses: ['127.0.0.1:1'] }, defaultPool: 'default/p' }
  const { plan, errors, warnings } = compileSet(readTexts([{ file: 'f', text }]), options)
  const told = (list: typeof errors) =>
    list.filter(({ object }) => object?.startsWith('EndpointPickerConfig') === true).map(({ message }) => message)
  return { pool: plan.pools[0], errors: told(errors), warnings: told(warnings) }
}

describe("a configuration with a user's own plug-ins", () => {
  it('has the pages that are referred to', () => {
    const source = '{ type: page-source, parameters: { heat: "heat{of=gpu}" } }'
    const read = compiled(`plugins: [${source}]\ndataLayer: { sources: [{ pluginRef: page-source }] }`)
    expect([read.errors, read.warnings]).toEqual([[], []])
    const metrics = [{ attribute: 'heat', spec: { name: 'heat', labels: { of: 'gpu' } } }]
    expect(read.pool!.scrape).toMatchObject({
      attributes: ['heat'],
      exporters: [{ scheme: 'http', path: '/own', intervalMs: 20, metrics }],
    })
    const unused = compiled(`plugins: [${source}]`)
    expect(unused.warnings).toEqual(['dataLayer.sources does not refer to the data source "page-source"'])
    expect(unused.pool!.scrape.exporters).toBeUndefined()
  })

  it.each([
    ['odd-source', /path must be a path that starts with "\/"/],
    ['throwing-source', /no luck/],
    ['both-source', /must have either metrics, or attributes and extract/],
  ])('%s is an error where it stands: %s', (type, message) => {
    const { errors } = compiled(`plugins: [{ type: ${type} }]\ndataLayer: { sources: [{ pluginRef: ${type} }] }`)
    expect(errors).toEqual([expect.stringMatching(message)])
  })

  it('a family that is none is an error', () => {
    const source = '{ type: page-source, parameters: { heat: "1{" } }'
    const { errors } = compiled(`plugins: [${source}]\ndataLayer: { sources: [{ pluginRef: page-source }] }`)
    expect(errors).toEqual([expect.stringContaining('page-source')])
  })

  it('a saturation detector by its type alone, unless it needs parameters', () => {
    const named = (name: string) =>
      compiled(`featureGates: [flowControl]\nflowControl: { saturationDetector: { pluginRef: ${name} } }`)
    const { pool, errors } = named('own-detector')
    expect(errors).toEqual([])
    expect(pool!.scheduling.flowControl!.saturation).toEqual({ type: 'own-detector', parameters: {} })
    expect(named('needy-detector').errors).toEqual(['"needy-detector" needs parameters: declare it among the plugins'])
    expect(named('own-fairness').errors).not.toEqual([])
  })

  it('a role is held to its place', () => {
    const { errors } = compiled(`
plugins: [{ type: own-fairness }]
featureGates: [flowControl]
flowControl: { defaultPriorityBand: { orderingPolicyRef: own-fairness } }`)
    expect(errors).toEqual(['"own-fairness" is a fairness-policy, and no ordering-policy'])
    expect(compiled('plugins: [{ type: own-detector }]').warnings).toEqual([
      'flowControl does not refer to the saturation-detector "own-detector"',
    ])
  })

  it('producers and hooks work unnamed, several of a type too', () => {
    const { pool, errors, warnings } = compiled(`
plugins:
- { type: own-producer, name: a, parameters: { of: a } }
- { type: own-producer, name: b, parameters: { of: b } }
- { type: own-hook }`)
    expect([errors, warnings]).toEqual([[], []])
    expect(pool!.scheduling.producers!.map(({ name }) => name)).toEqual(['a', 'b'])
    expect(pool!.scheduling.hooks).toEqual([{ type: 'own-hook', parameters: {} }])
  })
})
