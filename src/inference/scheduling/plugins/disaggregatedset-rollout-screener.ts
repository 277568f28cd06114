import { z } from 'zod'
import { headerName, object } from '../../../config/kinds/common.ts'
import { headerName as headerKey } from '../../../extproc/header-view.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import { type LabelTest, parseLabelSelector } from '../../label-selector-text.ts'
import type { Candidates } from '../candidates.ts'
import { Random } from '../random.ts'
import type { Screener } from '../screener.ts'
import type { ScreenerType } from './plugin-type.ts'

export const ROLLOUT_SCREENER = 'disaggregatedset-rollout-screener'

const name = z.string().min(1)
const unique = (list: readonly string[]) => new Set(list).size === list.length

const gating = object({
  revisionLabelKey: name.default('disaggregatedset.x-k8s.io/revision'),
  roleLabelKey: name.default('disaggregatedset.x-k8s.io/role'),
  mode: z.enum(['sum', 'max-role', 'disabled']),
  requireRoles: object({ values: z.array(name).min(1).refine(unique, 'must not have a role twice') }).optional(),
}).refine(({ mode, requireRoles }) => mode === 'disabled' || requireRoles !== undefined, {
  path: ['requireRoles'],
  message: 'is required, unless mode is disabled',
})

const selector = object({
  name,
  headerName: headerName.transform(text => text.toLowerCase()),
  labelKey: name,
  /** `prefer`: it is stamped on responses only. */
  mode: z.enum(['strict', 'prefer']),
})

export const rolloutScreenerParameters = object({
  scope: object({
    labelSelector: z.string().refine(text => parseLabelSelector(text) !== undefined, 'must be a label selector'),
  }),
  headerSelectors: z
    .array(selector)
    .default([])
    .refine(list => unique(list.map(({ name }) => name)), 'each name at most once')
    .refine(list => unique(list.map(({ headerName }) => headerName)), 'each header at most once'),
  revisionGating: gating,
})
type Parameters = z.output<typeof rolloutScreenerParameters>

/** Instead of a revision's number: any that is complete will do; none is. */
const ANY = -1
const NONE = -2

/**
 * One revision a request while a DisaggregatedSet is rolled out (epp.md §3.2): revisions that lack an endpoint of a required role are out, and
 * of the others one is drawn, by its number of endpoints of those roles (`sum`), or of the role that has most of all (`max-role`). A strict
 * header that the request has keeps those with this label instead of the draw.
 */
class RolloutScreener implements Screener {
  readonly type = ROLLOUT_SCREENER
  readonly #gating: Parameters['revisionGating']
  readonly #inScope: LabelTest
  readonly #strict: readonly { readonly header: ReturnType<typeof headerKey>; readonly label: string }[]
  readonly #random = new Random(Math.random() * 0x7fffffff)
  /** By number of the revision: its weight, 0 = it is not complete; and whether some candidate has it. */
  #weights = new Float64Array(0)
  #seen = new Uint8Array(0)
  /** By slot: the number of its revision, −1 = it has none. */
  #revisions = new Int32Array(0)
  /** For each strict selector, by slot. */
  #values: (string | undefined)[][] = []
  #chosen = ANY

  constructor({ scope, headerSelectors, revisionGating }: Parameters) {
    this.#gating = revisionGating
    this.#inScope = parseLabelSelector(scope.labelSelector)!
    this.#strict = headerSelectors
      .filter(({ mode }) => mode === 'strict')
      .map(each => ({ header: headerKey(each.headerName), label: each.labelKey }))
  }

  adopt(table: EndpointTable): void {
    const { revisionLabelKey, roleLabelKey, mode, requireRoles } = this.#gating
    this.#values = this.#strict.map(({ label }) =>
      Array.from({ length: table.capacity }, (_, slot) => table.labels(slot)?.[label]),
    )
    this.#revisions = new Int32Array(table.capacity).fill(-1)
    if (mode === 'disabled') return
    const roles = requireRoles!.values
    const numbers = new Map<string, number>()
    const counts: number[][] = []
    for (const slot of table.live.subarray(0, table.liveCount)) {
      const labels = table.labels(slot) ?? {}
      const revision = labels[revisionLabelKey] ?? ''
      if (revision === '') continue
      let number = numbers.get(revision)
      if (number === undefined) {
        numbers.set(revision, (number = counts.length))
        counts.push(roles.map(() => 0))
      }
      this.#revisions[slot] = number
      const role = roles.indexOf(labels[roleLabelKey] ?? '')
      if (role >= 0 && this.#inScope(labels)) counts[number]![role]!++
    }
    this.#weights = Float64Array.from(weightsOf(counts, mode))
    this.#seen = new Uint8Array(counts.length)
  }

  begin({ count, slots, headers }: Candidates): void {
    this.#chosen = ANY
    if (this.#gating.mode === 'disabled') return
    for (const { header } of this.#strict) if ((headers?.common(header) ?? '') !== '') return
    const seen = this.#seen.fill(0)
    let total = 0
    for (let i = 0; i < count; i++) {
      const revision = this.#revisions[slots[i]!]!
      if (revision < 0 || seen[revision] === 1) continue
      seen[revision] = 1
      total += this.#weights[revision]!
    }
    this.#chosen = NONE
    let left = this.#random.unit() * total
    for (let revision = 0; revision < seen.length; revision++) {
      if (seen[revision] === 0 || this.#weights[revision] === 0) continue
      this.#chosen = revision
      left -= this.#weights[revision]!
      if (left <= 0) return
    }
  }

  screen({ count, slots, headers }: Candidates, kept: Uint8Array): void {
    if (this.#gating.mode !== 'disabled') {
      for (let i = 0; i < count; i++) {
        const revision = this.#revisions[slots[i]!]!
        const complete = revision >= 0 && this.#weights[revision]! > 0
        if (!complete || (this.#chosen !== ANY && this.#chosen !== revision)) kept[i] = 0
      }
    }
    for (let s = 0; s < this.#strict.length; s++) {
      const wanted = headers?.common(this.#strict[s]!.header) ?? ''
      if (wanted === '') continue
      for (let i = 0; i < count; i++) if (this.#values[s]![slots[i]!] !== wanted) kept[i] = 0
    }
  }
}

/** Of each revision's endpoints by role; 0 where a role has none. */
function weightsOf(counts: readonly (readonly number[])[], mode: 'sum' | 'max-role'): number[] {
  const complete = counts.filter(roles => !roles.includes(0))
  const totals = (counts[0] ?? []).map((_, role) => complete.reduce((sum, roles) => sum + roles[role]!, 0))
  // Of equal ones the first.
  const largest = totals.indexOf(Math.max(...totals))
  return counts.map(roles => {
    if (roles.includes(0)) return 0
    return mode === 'max-role' ? roles[largest]! : roles.reduce((sum, count) => sum + count, 0)
  })
}

export const disaggregatedsetRolloutScreener: ScreenerType = {
  type: ROLLOUT_SCREENER,
  role: 'screener',
  parameters: rolloutScreenerParameters,
  createScreener: given => new RolloutScreener(rolloutScreenerParameters.parse(given)),
}
