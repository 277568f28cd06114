import { describe, expect, it } from '@jest/globals'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { type PickRequest, PickResult, PickStatus } from '../inference/pool.ts'
import { headersOf } from '../inference/scheduling/plugins/testing.ts'
import { LocalPool, request } from '../inference/testing.ts'
import { compileSet } from './compile.ts'

const REVISION = 'disaggregatedset.x-k8s.io/revision'
const ROLE = 'disaggregatedset.x-k8s.io/role'
const HEADER = 'x-revision'
const ZONE_HEADER = 'x-zone'

interface Endpoint {
  readonly revision?: string
  readonly role?: string
  readonly app?: string
  readonly zone?: string
}

const times = (count: number, endpoint: Endpoint): Endpoint[] => Array.from({ length: count }, () => endpoint)
/** Two and nine of the old revision, one and one of the new. */
const ROLLOUT = [
  ...times(2, { revision: 'a', role: 'prefill' }),
  ...times(9, { revision: 'a', role: 'decode' }),
  ...times(1, { revision: 'b', role: 'prefill' }),
  ...times(1, { revision: 'b', role: 'decode' }),
]

function yaml(endpoints: readonly Endpoint[], parameters: object, more = ''): string {
  const list = endpoints.map(({ revision, role, app = 'x', zone }, i) => {
    const labels = {
      app,
      ...(zone === undefined ? {} : { zone }),
      ...(revision === undefined ? {} : { [REVISION]: revision }),
      ...(role === undefined ? {} : { [ROLE]: role, 'llm-d.ai/role': role }),
    }
    return { address: `10.0.0.${i + 1}`, port: 80, labels }
  })
  return `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: p }
spec:
  selector: { matchLabels: { pool: p } }
  targetPorts: [{ number: 80 }]
  endpointPickerRef: { name: s, port: { number: 9002 } }
---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: p, labels: { pool: p } }
spec: { endpoints: ${JSON.stringify(list)} }
---
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- { type: disaggregatedset-rollout-screener, parameters: ${JSON.stringify(parameters)} }
${more}`
}

function compiled(text: string) {
  const { plan, errors, warnings } = compileSet(readTexts([{ file: 'f', text }]), {
    extProc: { addresses: ['127.0.0.1:1'] },
    defaultPool: 'default/p',
  })
  return { plan: structuredClone(plan.pools[0]!), problems: [...errors, ...warnings].map(formatProblem) }
}

/** Two revisions in one zone; in the other one only `b` is complete. */
const ZONED = [
  ...['a', 'b'].flatMap(revision => ['prefill', 'decode'].map(role => ({ revision, role, zone: 'z1' }))),
  { revision: 'a', role: 'decode', zone: 'z2' },
  { revision: 'b', role: 'decode', zone: 'z2' },
  { revision: 'b', role: 'prefill', zone: 'z2' },
]
const STAGES = `- { type: disagg-profile-handler, parameters: { profiles: { decode: decode, prefill: prefill }, deciders: { prefill: always-disagg-pd-decider } } }
- { type: always-disagg-pd-decider }
- { type: decode-filter }
- { type: prefill-filter }
schedulingProfiles:
- { name: decode, plugins: [{ pluginRef: decode-filter }] }
- { name: prefill, plugins: [{ pluginRef: prefill-filter }] }
`

const ZONES = { name: 'zone', headerName: 'X-Zone', labelKey: 'zone', mode: 'strict' }

function parameters(mode: string, more: object = {}): object {
  const headerSelectors = [{ name: 'revision', headerName: 'X-Revision', labelKey: REVISION, mode: 'strict' }, ZONES]
  const requireRoles = { values: ['prefill', 'decode'] }
  return { scope: { labelSelector: 'app=x' }, headerSelectors, revisionGating: { mode, requireRoles }, ...more }
}

function poolOf(endpoints: readonly Endpoint[], given: object, more = ''): LocalPool {
  const { plan, problems } = compiled(yaml(endpoints, given, more))
  expect(problems).toEqual([])
  return new LocalPool(plan, { releaseBy: 'response' })
}

interface Asked {
  readonly revision?: string
  readonly zone?: string
}

function asking({ revision, zone }: Asked): PickRequest {
  const headers = { ...(revision === undefined ? {} : { [HEADER]: revision }), ...(zone && { [ZONE_HEADER]: zone }) }
  return request({ headers: headersOf(headers) })
}

/** Revisions of the endpoints that get a request; a status where it is none. */
function pick(pool: LocalPool, asked: Asked = {}): { readonly to: string; readonly prefill: string | undefined } {
  const result = new PickResult()
  const status = pool.pick(asking(asked), result)
  if (status !== PickStatus.OK) return { to: `status ${status}`, prefill: undefined }
  const revisionOf = (slot: number) => pool.table.labels(slot)?.[REVISION] ?? 'none'
  const { slots, generations, prefill } = result
  pool.inFlight.release(slots[0]!, generations[0]!)
  return { to: revisionOf(slots[0]!), prefill: prefill.count === 0 ? undefined : revisionOf(prefill.slots[0]!) }
}

function share(pool: LocalPool, revision: string): number {
  const picks = Array.from({ length: 4000 }, () => pick(pool).to)
  return picks.filter(to => to === revision).length / picks.length
}

describe('disaggregatedset-rollout-screener', () => {
  it.each([
    ['sum', 11 / 13],
    ['max-role', 9 / 10],
  ])('draws revisions by their endpoints: %s', (mode, expected) => {
    // Eight standard deviations.
    expect(Math.abs(share(poolOf(ROLLOUT, parameters(mode)), 'a') - expected)).toBeLessThan(0.05)
  })

  it('leaves out a revision that lacks a role, whatever it has else, and endpoints of none', () => {
    const pool = poolOf([...times(5, { revision: 'a', role: 'decode' }), ...ROLLOUT.slice(11), {}], parameters('sum'))
    expect(share(pool, 'b')).toBe(1)
  })

  it('has no endpoint where no revision is complete', () => {
    const pool = poolOf(ROLLOUT.slice(2, 11), parameters('sum'))
    expect(pick(pool).to).toBe(`status ${PickStatus.NO_ENDPOINTS}`)
    expect(pick(pool, { revision: 'a' }).to).toBe(`status ${PickStatus.NO_ENDPOINTS}`)
  })

  it('counts what is in scope', () => {
    const outside = times(3, { revision: 'a', role: 'prefill', app: 'other' })
    const pool = poolOf([...outside, ...ROLLOUT.slice(2)], parameters('sum'))
    expect(share(pool, 'b')).toBe(1)
  })

  it('keeps to the revision that the request names, if that is complete', () => {
    const pool = poolOf(ROLLOUT, parameters('sum'))
    for (let i = 0; i < 20; i++) expect(pick(pool, { revision: 'b' }).to).toBe('b')
    expect(pick(pool, { revision: 'c' }).to).toBe(`status ${PickStatus.NO_ENDPOINTS}`)
  })

  it('with gating disabled goes by headers alone', () => {
    const pool = poolOf([{ revision: 'a' }, { revision: 'b' }, {}], parameters('disabled'))
    expect(new Set(Array.from({ length: 200 }, () => pick(pool).to))).toEqual(new Set(['a', 'b', 'none']))
    for (let i = 0; i < 20; i++) expect(pick(pool, { revision: 'b' }).to).toBe('b')
  })

  it('has all stages of a request use one revision', () => {
    const pool = poolOf(ROLLOUT, parameters('sum'), STAGES)
    const picks = Array.from({ length: 400 }, () => pick(pool))
    for (const { to, prefill } of picks) expect(prefill).toBe(to)
    expect(new Set(picks.map(({ to }) => to))).toEqual(new Set(['a', 'b']))
  })

  it.each([[{ zone: 'z1' }], [{ zone: 'z2' }]])('has them use one revision where a header selects %j', asked => {
    const pool = poolOf(ZONED, parameters('sum'), STAGES)
    const picks = Array.from({ length: 400 }, () => pick(pool, asked))
    for (const { to, prefill } of picks) expect(prefill).toBe(to)
    // Of the second zone only one is complete.
    expect(new Set(picks.map(({ to }) => to))).toEqual(new Set(asked.zone === 'z1' ? ['a', 'b'] : ['b']))
  })

  it('draws among the zones of a revision that the request names, and of all where it names none', () => {
    const pool = poolOf(ZONED, parameters('sum'), STAGES)
    const zones = new Set<string>()
    for (let i = 0; i < 400; i++) {
      const result = new PickResult()
      expect(pool.pick(asking({ revision: 'b' }), result)).toBe(PickStatus.OK)
      const [to, from] = [result.slots[0]!, result.prefill.slots[0]!].map(slot => pool.table.labels(slot)!['zone']!)
      expect(from).toBe(to)
      zones.add(to!)
    }
    expect(zones).toEqual(new Set(['z1', 'z2']))
    expect(new Set(Array.from({ length: 400 }, () => pick(pool).to))).toEqual(new Set(['a', 'b']))
  })

  it('keeps a burst’s request where it was placed', () => {
    const pool = poolOf(ROLLOUT, parameters('sum'))
    for (let i = 0; i < 400; i++) {
      const ask = asking({})
      const slot = pool.candidatesFor(ask, 0).slots[0]!
      ask.burstSlot = slot
      ask.burstGeneration = pool.table.generation[slot]!
      const result = new PickResult()
      expect(pool.pick(ask, result)).toBe(PickStatus.OK)
      const [placed, picked] = [slot, result.slots[0]!].map(each => pool.table.labels(each)![REVISION])
      expect(picked).toBe(placed)
      pool.inFlight.release(result.slots[0]!, result.generations[0]!)
    }
  })

  it('tells shares, and headers that nothing matches', () => {
    const pool = poolOf(ROLLOUT.concat({ revision: 'c', role: 'decode' }), parameters('sum'))
    pool.candidatesFor(asking({ revision: 'c' }), 0)
    pick(pool, { revision: 'c' })
    pick(pool, { revision: 'b' })
    pick(pool, { revision: 'b', zone: 'nowhere' })
    const [figures] = pool.keeper.screenerFigures()
    expect(figures?.mode).toBe('sum')
    expect([...figures!.shares]).toEqual([
      ['a', 11 / 13],
      ['b', 2 / 13],
      ['c', 0],
    ])
    expect([...figures!.noMatch]).toEqual([
      ['revision', 1],
      ['zone', 1],
    ])
    // Counts stay with the next plan.
    pool.update(structuredClone(pool.plan))
    expect(pool.keeper.screenerFigures()[0]?.noMatch.get('zone')).toBe(1)
  })

  it('stamps what requests may select', () => {
    const { plan } = compiled(yaml(ROLLOUT, parameters('sum')))
    expect(plan.scheduling.labelHeaders).toEqual([
      { header: HEADER, label: REVISION },
      { header: ZONE_HEADER, label: 'zone' },
    ])
  })

  it.each([
    [{}, ['scope: is required', 'revisionGating: is required']],
    [parameters('sum', { scope: { labelSelector: 'a in' } }), ['scope.labelSelector: must be a label selector']],
    [parameters('sum', { revisionGating: { mode: 'sum' } }), ['revisionGating.requireRoles: is required']],
    [parameters('most'), ['revisionGating.mode: must be sum, max-role or disabled']],
    [
      parameters('sum', { revisionGating: { mode: 'sum', requireRoles: { values: ['a', 'a'] } } }),
      ['requireRoles.values: must not have a role twice'],
    ],
    [
      parameters('sum', {
        headerSelectors: [
          { name: 'a', headerName: 'X', labelKey: 'l', mode: 'strict' },
          { name: 'b', headerName: 'x', labelKey: 'l', mode: 'prefer' },
        ],
      }),
      ['headerSelectors: each header at most once'],
    ],
  ])('tells what is wrong with %j', (given, messages) => {
    const { problems } = compiled(yaml(ROLLOUT, given))
    for (const message of messages) expect(problems).toContainEqual(expect.stringContaining(message))
  })
})
