import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { waitFor } from '../../test/support/wait-for.ts'
import { FileSource, type FileSourceOptions } from './file-source.ts'
import { loadFiles } from './load-files.ts'
import { type ObjectSet, readTexts } from './object-set.ts'
import { formatProblem } from './problem.ts'

let folder: string
let source: FileSource | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signalbox-endpoints-'))
})
afterEach(async () => {
  await source?.stop()
  source = undefined
  await rm(folder, { recursive: true })
})

const at = (name: string) => join(folder, name)
const config = (watchFile: boolean) =>
  JSON.stringify({
    apiVersion: 'llm-d.ai/v1alpha1',
    kind: 'EndpointPickerConfig',
    plugins: [{ name: 'list', type: 'file-discovery', parameters: { path: at('endpoints'), watchFile } }],
    dataLayer: { discovery: { pluginRef: 'list' } },
  })
const endpointsOf = ({ items }: ObjectSet) =>
  items.flatMap(item =>
    item.kind === 'EndpointsFile' ? item.endpoints.map(({ address, port }) => `${address} ${port}`) : [],
  )

/** What is said of a file of endpoints with this text. */
async function read(text: string): Promise<{ readonly endpoints: string[]; readonly problems: string[] }> {
  await writeFile(at('picker.yaml'), config(false))
  await writeFile(at('endpoints'), text)
  const set = await loadFiles([at('picker.yaml')])
  const problems = [...set.errors, ...set.warnings].map(formatProblem)
  return { endpoints: endpointsOf(set), problems: problems.map(line => line.replace(at('endpoints'), 'FILE')) }
}

describe('a file of endpoints', () => {
  it('may have ports as texts and as numbers, and IPv6', async () => {
    const text = 'endpoints:\n- {name: a, address: 10.0.0.1, port: "8000", labels: {x: y}}\n'
    expect(await read(`${text}- {name: b, namespace: n, address: "fd00::1", port: 80}`)).toEqual({
      endpoints: ['10.0.0.1 8000', 'fd00::1 80'],
      problems: [],
    })
    expect(await read('{"endpoints": []}')).toEqual({ endpoints: [], problems: [] })
  })

  it('is refused with all that is wrong with it, at its places', async () => {
    const { endpoints, problems } = await read(`endpoints:
- { name: a, address: host, port: "8000" }
- { address: 10.0.0.1, port: "70000", label: {} }
`)
    expect(endpoints).toEqual([])
    expect(problems).toEqual([
      expect.stringMatching(/^FILE:2:\d+: .*endpoints\[0\].address: must be an IP address/),
      expect.stringMatching(/^FILE:3:\d+: .*endpoints\[1\].name: is required/),
      expect.stringMatching(/^FILE:3:\d+: .*endpoints\[1\].port: must be a port, 1 to 65535/),
      expect.stringMatching(/^FILE:3:\d+: .*endpoints\[1\].label: unknown field "label"/),
    ])
  })

  it.each([
    ['', /empty/],
    ['endpoints: [', /./],
    ['endpoints: []\n---\nendpoints: []', /one document/],
    ['[]', /must be an object/],
    ['endpoints: {}', /must be an object with the list "endpoints"/],
    [`# ${'x'.repeat(1024 * 1024)}\nendpoints: []`, /the limit is 1048576/],
    [`endpoints:\n${'- {}\n'.repeat(10_001)}`, /has 10001 endpoints; the limit is 10000/],
    [`endpoints:\n${'- {a: }\n'.repeat(125_000)}`, /has more than 300000 words and signs/],
  ])('that is none is refused: %.20s', async (text, problem) => {
    expect(await read(text)).toEqual({ endpoints: [], problems: [expect.stringMatching(problem)] })
  })

  it('may have 10,000 endpoints with labels', async () => {
    const lines = Array.from(
      { length: 10_000 },
      (_, i) =>
        `- {name: vllm-${i}, address: 10.0.${i >> 8}.${i & 255}, port: "8000", labels: {llm-d.ai/role: decode}}\n`,
    )
    const { endpoints, problems } = await read(`endpoints:\n${lines.join('')}`)
    expect([endpoints.length, problems]).toEqual([10_000, []])
  })

  it('has a hundred problems at most', async () => {
    const { problems } = await read(`endpoints:\n${'- {a: }\n'.repeat(9000)}`)
    expect(problems).toHaveLength(101)
    expect(problems).toContainEqual(expect.stringContaining('FILE: error: has more than these 100 problems'))
    const twice = await read(`endpoints:\n${'- {name: a, address: 10.0.0.1, port: 1}\n'.repeat(9000)}`)
    expect([twice.endpoints, twice.problems.length]).toEqual([['10.0.0.1 1'], 101])
    expect(twice.problems[0]).toContain('has 8999 endpoints that are there twice; 100 are shown')
  })

  it.each([
    'PATH=/bin\0TOKEN=s3cret\0',
    'TOKEN=s3cret',
    's3cret',
    '- s3cret',
    'user: s3cret',
    's3cret: user',
    'user: *s3cret',
    'user: @s3cret',
    's3cret: a: b',
    '{"s3cret": "s3cret" s3cret}',
    'a: "\\s3cret"',
    '%s3cret\n---\na',
    '!<s3cret a',
    'a: !s3cret b',
    'endpoints: s3cret',
    '{endpoints: {s3cret: s3cret}}',
  ])('says nothing of what another file holds: %j', async text => {
    const { endpoints, problems } = await read(text)
    expect([endpoints, problems.length > 0]).toEqual([[], true])
    expect(problems.join('\n')).not.toContain('s3cret')
  })

  it('has the last of two endpoints of one name', async () => {
    const { endpoints, problems } = await read(
      'endpoints:\n- {name: a, address: 10.0.0.1, port: 1}\n- {name: a, address: 10.0.0.2, port: 1}\n',
    )
    expect(endpoints).toEqual(['10.0.0.2 1'])
    expect(problems).toEqual([expect.stringContaining('FILE:3:10: warning: default/a is there twice')])
  })

  it('that is not there is an error', async () => {
    await writeFile(at('picker.yaml'), config(false))
    expect((await loadFiles([at('picker.yaml')])).errors.map(formatProblem)).toEqual([
      expect.stringContaining('no such file'),
    ])
  })
})

describe('following a file of endpoints', () => {
  const sets: ObjectSet[] = []
  const one = 'endpoints: [{name: a, address: 10.0.0.1, port: 1}]'
  const two = 'endpoints: [{name: a, address: 10.0.0.2, port: 1}]'

  async function follow(paths: readonly string[], options: FileSourceOptions = {}): Promise<void> {
    sets.length = 0
    source = new FileSource(paths, set => sets.push(set), { debounceMs: 10, ...options })
    await source.start()
  }
  const replace = async (text: string) => {
    await writeFile(at('new'), text)
    await rename(at('new'), at('endpoints'))
  }
  const comes = (address: string) =>
    waitFor('the endpoints', () => endpointsOf(sets.at(-1)!).some(text => text.startsWith(address)))

  it('reads it again when it changes, and as it was when it changes into nonsense', async () => {
    await writeFile(at('picker.yaml'), config(true))
    await writeFile(at('endpoints'), one)
    await follow([at('picker.yaml')])
    expect(endpointsOf(sets[0]!)).toEqual(['10.0.0.1 1'])
    await replace(two)
    await comes('10.0.0.2')
    await replace('endpoints: 7')
    await waitFor('an error', () => sets.at(-1)!.errors.length > 0)
    await replace(one)
    await comes('10.0.0.1')
    expect(sets.at(-1)!.errors).toEqual([])
  })

  it('believes one that is much shorter when it stays so: it may be half written', async () => {
    const lines = Array.from({ length: 50 }, (_, i) => `- {name: e${i}, address: 10.0.0.${i + 1}, port: 1}\n`)
    const whole = `endpoints:\n${lines.join('')}`
    await writeFile(at('picker.yaml'), config(true))
    await writeFile(at('endpoints'), whole)
    await follow([at('picker.yaml')], { debounceMs: 1000 })
    // Longer than the first quiet time, so that it is read in between.
    await writeFile(at('endpoints'), `endpoints:\n${lines.slice(0, 5).join('')}`)
    await new Promise(resolve => setTimeout(resolve, 2000))
    await writeFile(at('endpoints'), `${whole}# again\n`)
    await waitFor('the whole', () => sets.length > 1)
    expect(sets.map(set => endpointsOf(set).length)).toEqual([50, 50])
    await source!.stop()
    await follow([at('picker.yaml')])
    await replace(`endpoints:\n${lines.slice(0, 5).join('')}`)
    await waitFor('the few', () => sets.length > 1)
    expect(sets.map(set => endpointsOf(set).length)).toEqual([50, 5])
  }, 30_000)

  it('follows one that another object than a file names', async () => {
    await writeFile(at('endpoints'), one)
    await follow([], { given: readTexts([{ file: 'given', text: config(true) }]).items })
    expect(endpointsOf(sets[0]!)).toEqual(['10.0.0.1 1'])
    await replace(two)
    await comes('10.0.0.2')
  })

  it('reads it once without watchFile, until that changes', async () => {
    await writeFile(at('picker.yaml'), config(false))
    await writeFile(at('endpoints'), one)
    await follow([at('picker.yaml')])
    await replace(two)
    const extra = `${config(false)}\n---\n{ apiVersion: v1, kind: ConfigMap, metadata: { name: more }, data: {} }\n`
    await writeFile(at('picker.yaml'), extra)
    await waitFor('the other object', () => sets.at(-1)!.items.some(({ kind }) => kind === 'ConfigMap'))
    expect(endpointsOf(sets.at(-1)!)).toEqual(['10.0.0.1 1'])
    await writeFile(at('picker.yaml'), config(true))
    await comes('10.0.0.2')
  })
})
