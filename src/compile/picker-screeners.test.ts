import { describe, expect, it } from '@jest/globals'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { PickResult, PickStatus } from '../inference/pool.ts'
import { headersOf } from '../inference/scheduling/plugins/testing.ts'
import { LocalPool, request } from '../inference/testing.ts'
import { compileSet } from './compile.ts'

const REVISION = 'disaggregatedset.x-k8s.io/revision'
const ROLE = 'disaggregatedset.x-k8s.io/role'
const HEADER = 'x-revision'

interface Endpoint {
  readonly revision?: string
  readonly role?: string
  readonly app?: string
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
  const list = endpoints.map(({ revision, role, app = 'x' }, i) => {
    const labels = {
      app,
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

function parameters(mode: string, more: object = {}): object {
  const headerSelectors = [{ name: 'revision', headerName: 'X-Revision', labelKey: REVISION, mode: 'strict' }]
  const requireRoles = { values: ['prefill', 'decode'] }
  return { scope: { labelSelector: 'app=x' }, headerSelectors, revisionGating: { mode, requireRoles }, ...more }
}

function poolOf(endpoints: readonly Endpoint[], given: object, more = ''): LocalPool {
  const { plan, problems } = compiled(yaml(endpoints, given, more))
  expect(problems).toEqual([])
  return new LocalPool(plan, { releaseBy: 'response' })
}

/** Revisions of the endpoints that get a request; a status where it is none. */
function pick(pool: LocalPool, header?: string): { readonly to: string; readonly prefill: string | undefined } {
  const result = new PickResult()
  const headers = headersOf(header === undefined ? {} : { [HEADER]: header })
  const status = pool.pick(request({ headers }), result)
  if (status !== PickStatus.OK) return { to: `status ${status}`, prefill: undefined }
  const revisionOf = (slot: number) => pool.table.labels(slot)?.[REVISION] ?? 'none'
  const { slots, generations, prefill } = result
  pool.release(slots[0]!, generations[0]!)
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
    expect(pick(pool, 'a').to).toBe(`status ${PickStatus.NO_ENDPOINTS}`)
  })

  it('counts what is in scope', () => {
    const outside = times(3, { revision: 'a', role: 'prefill', app: 'other' })
    const pool = poolOf([...outside, ...ROLLOUT.slice(2)], parameters('sum'))
    expect(share(pool, 'b')).toBe(1)
  })

  it('keeps to the revision that the request names, if that is complete', () => {
    const pool = poolOf(ROLLOUT, parameters('sum'))
    for (let i = 0; i < 20; i++) expect(pick(pool, 'b').to).toBe('b')
    expect(pick(pool, 'c').to).toBe(`status ${PickStatus.NO_ENDPOINTS}`)
  })

  it('with gating disabled goes by headers alone', () => {
    const pool = poolOf([{ revision: 'a' }, { revision: 'b' }, {}], parameters('disabled'))
    expect(new Set(Array.from({ length: 200 }, () => pick(pool).to))).toEqual(new Set(['a', 'b', 'none']))
    for (let i = 0; i < 20; i++) expect(pick(pool, 'b').to).toBe('b')
  })

  it('has all stages of a request use one revision', () => {
    const pool = poolOf(
      ROLLOUT,
      parameters('sum'),
      `- { type: disagg-profile-handler, parameters: { profiles: { decode: decode, prefill: prefill }, deciders: { prefill: always-disagg-pd-decider } } }
- { type: always-disagg-pd-decider }
- { type: decode-filter }
- { type: prefill-filter }
schedulingProfiles:
- { name: decode, plugins: [{ pluginRef: decode-filter }] }
- { name: prefill, plugins: [{ pluginRef: prefill-filter }] }
`,
    )
    const picks = Array.from({ length: 400 }, () => pick(pool))
    for (const { to, prefill } of picks) expect(prefill).toBe(to)
    expect(new Set(picks.map(({ to }) => to))).toEqual(new Set(['a', 'b']))
  })

  it('stamps what requests may select', () => {
    const { plan } = compiled(yaml(ROLLOUT, parameters('sum')))
    expect(plan.scheduling.labelHeaders).toEqual([{ header: HEADER, label: REVISION }])
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
