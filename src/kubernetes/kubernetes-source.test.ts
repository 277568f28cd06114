import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { Writable } from 'node:stream'
import { waitFor } from '../../test/support/wait-for.ts'
import { compile } from '../compile/compile.ts'
import { formatProblem } from '../config/problem.ts'
import type { ObjectSet } from '../config/object-set.ts'
import { createLog } from '../telemetry/log.ts'
import { ApiClient } from './api-client.ts'
import { KubernetesSource } from './kubernetes-source.ts'
import { collectionPath, PODS, RESOURCES } from './resources.ts'
import { FakeApiServer, rawPod, rawPool, TEST_TIMING } from './testing.ts'

const POD_PATH = collectionPath(PODS, undefined)
const [POOLS, ALPHA_POOLS, REWRITES] = RESOURCES.map(resource => collectionPath(resource, undefined)) as [
  string,
  string,
  string,
]
const LABELS = { app: 'vllm' }

let server: FakeApiServer
let client: ApiClient
let source: KubernetesSource
let sets: ObjectSet[]
let logged: string

beforeEach(async () => {
  server = new FakeApiServer(POD_PATH, ...RESOURCES.map(resource => collectionPath(resource, undefined)))
  await server.start()
  client = new ApiClient(() => Promise.resolve(server.access))
  sets = []
  logged = ''
})
afterEach(async () => {
  await source.stop()
  await client.close()
  await server.stop()
})

function start(namespace?: string): void {
  const destination = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      logged += chunk.toString()
      done()
    },
  })
  source = new KubernetesSource(
    { client, namespace, log: createLog('info', destination), coalesceMs: 10, timing: TEST_TIMING },
    set => sets.push(set),
  )
  source.start()
}

/** Endpoints of the pool default/llm as the data path would have them. */
function endpoints(): string {
  const set = sets.at(-1)
  if (set === undefined) return 'no set'
  const { plan } = compile(set.items, { extProc: { addresses: ['127.0.0.1:1'] }, defaultPool: 'default/llm' })
  const pool = plan.pools.find(({ name }) => name === 'default/llm')
  return pool === undefined ? 'no pool' : pool.endpoints.map(({ address }) => address).join(' ')
}

const become = (wanted: string) => waitFor(`the endpoints ${wanted}`, () => endpoints() === wanted)
const warnings = () => sets.at(-1)!.warnings.map(formatProblem)

describe('KubernetesSource', () => {
  it('makes an endpoint of each ready pod and target port', async () => {
    server.put(POOLS, rawPool('llm', LABELS, [8000, 8001]))
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS))
    server.put(POD_PATH, rawPod('b', 'fd00::0002', LABELS))
    server.put(POD_PATH, rawPod('c', '10.0.0.3', LABELS, false))
    server.put(POD_PATH, rawPod('d', '10.0.0.4', { app: 'other' }))
    start()
    await become('10.0.0.1:8000 10.0.0.1:8001 [fd00::2]:8000 [fd00::2]:8001')
    // The first set was complete.
    expect(sets).toHaveLength(1)
    expect(warnings()).toEqual([])
  })

  it('follows readiness, deletion and active ports', async () => {
    server.put(POOLS, rawPool('llm', LABELS, [8000, 8001]))
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS, false))
    start()
    await become('')
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS))
    await become('10.0.0.1:8000 10.0.0.1:8001')
    const { metadata, ...rest } = rawPod('a', '10.0.0.1', LABELS)
    server.put(POD_PATH, { metadata: { ...metadata, annotations: { 'llm-d.ai/active-ports': '8001, x' } }, ...rest })
    await become('10.0.0.1:8001')
    server.put(POD_PATH, { metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' }, ...rest })
    await become('')
    server.put(POD_PATH, rawPod('b', '10.0.0.2', LABELS))
    await become('10.0.0.2:8000 10.0.0.2:8001')
    server.remove(POD_PATH, 'b')
    await become('')
  })

  it('hands a burst of changes on as one', async () => {
    server.put(POOLS, rawPool('llm', LABELS, [8000]))
    start()
    await become('')
    const before = sets.length
    for (let i = 1; i <= 200; i++) server.put(POD_PATH, rawPod(`p${i}`, `10.0.1.${i}`, LABELS))
    await waitFor('all', () => endpoints().split(' ').length === 200)
    expect(sets.length - before).toBeLessThan(20)
  })

  it('follows the selector of a pool', async () => {
    server.put(POOLS, rawPool('llm', LABELS, [8000]))
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS))
    server.put(POD_PATH, rawPod('b', '10.0.0.2', { app: 'new' }))
    start()
    await become('10.0.0.1:8000')
    server.put(POOLS, rawPool('llm', { app: 'new' }, [8000]))
    await become('10.0.0.2:8000')
    await waitFor('the old watch to end', () => server.watches === RESOURCES.length + 1)
    // Between the two there was never nothing.
    expect(sets.every(set => set.items.some(({ kind }) => kind === 'Pod'))).toBe(true)
  })

  it('reads the alpha shape, and prefers the newer group', async () => {
    const alpha = (name: string, port: number) => ({
      apiVersion: 'inference.networking.x-k8s.io/v1alpha2',
      kind: 'InferencePool',
      metadata: { name, namespace: 'default' },
      spec: { selector: LABELS, targetPortNumber: port, extensionRef: { name: 'epp', failureMode: 'FailOpen' } },
    })
    server.put(ALPHA_POOLS, alpha('llm', 9000))
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS))
    start()
    await become('10.0.0.1:9000')
    server.put(POOLS, rawPool('llm', LABELS, [8000]))
    await become('10.0.0.1:8000')
    expect(warnings()).toEqual([
      'kubernetes: warning: InferencePool default/llm: there is one of a newer API group too; the one of inference.networking.x-k8s.io is left out (duplicate-object)',
    ])
  })

  it('leaves out what it does not know, and objects that cannot be used, alone', async () => {
    const { spec, ...pool } = rawPool('llm', LABELS, [8000])
    server.put(POOLS, { ...pool, spec: { ...(spec as object), newField: 1 } })
    server.put(POOLS, rawPool('broken', LABELS, [0]))
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS))
    start()
    await become('10.0.0.1:8000')
    expect(sets.at(-1)!.errors).toEqual([])
    expect(warnings()).toEqual([
      expect.stringMatching(/InferencePool default\/llm: spec.newField: unknown field "newField"; it is left out/),
      expect.stringMatching(/InferencePool default\/broken: spec.targetPorts\[0\].number: .*; the object is left out/),
    ])
  })

  it('does without resources that the server does not have, and finds them later', async () => {
    await server.stop()
    server = new FakeApiServer(POD_PATH, POOLS)
    await server.start()
    server.put(POOLS, rawPool('llm', LABELS, [8000]))
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS))
    start()
    await become('10.0.0.1:8000')
    await waitFor('several looks', () => server.requests.filter(({ url }) => url.startsWith(REWRITES)).length > 3)
    expect(logged.match(/inferencemodelrewrites\.llm-d\.ai/g)).toHaveLength(1)
    server.addCollection(REWRITES)
    server.put(REWRITES, {
      metadata: { name: 'r', namespace: 'default' },
      spec: { poolRef: { name: 'llm' }, rules: [{ targets: [{ modelRewrite: 'm' }] }] },
    })
    await waitFor('the rewrite', () => sets.at(-1)!.items.some(({ kind }) => kind === 'InferenceModelRewrite'))
  })

  it('keeps quiet while the server is away, says so once, and catches up', async () => {
    server.put(POOLS, rawPool('llm', LABELS, [8000]))
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS))
    start()
    await become('10.0.0.1:8000')
    await waitFor('all watches', () => server.watches === RESOURCES.length + 1)
    const before = sets.length
    await server.stop()
    await waitFor('failures', () => source.figures().every(({ watching, errors }) => watching === 0 && errors > 2))
    expect(sets).toHaveLength(before)
    expect(logged.match(/what was known last stays/g)).toHaveLength(1)
    server.put(POD_PATH, rawPod('b', '10.0.0.2', LABELS))
    await server.start()
    await become('10.0.0.1:8000 10.0.0.2:8000')
    await waitFor('the good news', () => /is followed again/.test(logged))
    expect(source.figures()[0]).toMatchObject({ resource: 'pods', objects: 2, watches: 1, watching: 1 })
  })

  it('hands nothing on before everything was listed', async () => {
    server.put(POOLS, rawPool('llm', LABELS, [8000]))
    server.refusals.set(POD_PATH, 500)
    start()
    await waitFor('failures', () => source.figures()[0]!.errors > 2)
    expect(sets).toEqual([])
    server.refusals.clear()
    server.put(POD_PATH, rawPod('a', '10.0.0.1', LABELS))
    await become('10.0.0.1:8000')
    expect(sets).toHaveLength(1)
  })

  it('looks at one namespace if told so', async () => {
    server.put(POOLS, rawPool('llm', LABELS, [8000]))
    start('elsewhere')
    await waitFor('a set', () => sets.length > 0)
    expect(sets.at(-1)!.items).toEqual([])
    expect(server.requests.every(({ url }) => url.includes('/namespaces/elsewhere/'))).toBe(true)
  })

  it('follows a namespace whole when its pools have many selectors', async () => {
    for (const i of [1, 2, 3, 4, 5]) server.put(POOLS, rawPool(i === 1 ? 'llm' : `p${i}`, { app: `a${i}` }, [8000]))
    server.put(POD_PATH, rawPod('a', '10.0.0.1', { app: 'a1' }))
    start()
    await become('10.0.0.1:8000')
    expect(source.figures()[0]!.watches).toBe(1)
  })
})
