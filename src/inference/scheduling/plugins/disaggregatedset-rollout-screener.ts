import { z } from 'zod'
import { headerName, object } from '../../../config/kinds/common.ts'
import { headerName as headerKey } from '../../../extproc/header-view.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import { type LabelTest, parseLabelSelector } from '../../label-selector-text.ts'
import type { Candidates } from '../candidates.ts'
import { Random } from '../random.ts'
import type { RolloutFigures, Screener } from '../screener.ts'
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

/** Instead of a domain's number: none is complete. */
const NONE = -1

/**
 * One domain a request while a DisaggregatedSet is rolled out (epp.md §3.2): the endpoints that have one revision and one value of each label
 * that strict headers select. Domains that lack an endpoint of a required role are out, and so are those that the request's strict headers
 * exclude; of the others one is drawn, by its number of endpoints of those roles (`sum`), or of the role that has most of all (`max-role`).
 * A burst's request stays in the domain that it was placed in. With gating disabled strict headers are all there is.
 */
class RolloutScreener implements Screener {
  readonly type = ROLLOUT_SCREENER
  readonly #gating: Parameters['revisionGating']
  readonly #inScope: LabelTest
  readonly #strict: readonly {
    readonly name: string
    readonly header: ReturnType<typeof headerKey>
    readonly label: string
  }[]
  readonly #random = new Random(Math.random() * 0x7fffffff)
  #domains: readonly Domain[] = []
  /** By number of the domain: it is not complete = 0 (but with gating disabled nobody asks); and whether the request may go there. */
  #weights = new Float64Array(0)
  #open = new Uint8Array(0)
  /** By slot: the number of its domain. */
  #domainOf = new Int32Array(0)
  #chosen = NONE
  /** By strict selector: requests whose header left no endpoint. Of all threads. */
  #noMatch: Int32Array = new Int32Array(0)

  constructor({ scope, headerSelectors, revisionGating }: Parameters) {
    this.#gating = revisionGating
    this.#inScope = parseLabelSelector(scope.labelSelector)!
    this.#strict = headerSelectors
      .filter(({ mode }) => mode === 'strict')
      .map(({ name, headerName, labelKey }) => ({ name, header: headerKey(headerName), label: labelKey }))
  }

  sharedWords(): number {
    return this.#strict.length
  }

  attach(memory: Int32Array): void {
    this.#noMatch = memory
  }

  adopt(table: EndpointTable): void {
    const { revisionLabelKey, roleLabelKey, mode, requireRoles } = this.#gating
    const roles = requireRoles?.values ?? []
    const numbers = new Map<string, number>()
    const domains: Domain[] = []
    this.#domainOf = new Int32Array(table.capacity)
    for (const slot of table.live.subarray(0, table.liveCount)) {
      const labels = table.labels(slot) ?? {}
      const revision = labels[revisionLabelKey] ?? ''
      const values = this.#strict.map(({ label }) => labels[label] ?? '')
      const key = JSON.stringify([revision, values])
      let number = numbers.get(key)
      if (number === undefined) {
        numbers.set(key, (number = domains.length))
        domains.push({ revision, values, counts: roles.map(() => 0) })
      }
      this.#domainOf[slot] = number
      const role = roles.indexOf(labels[roleLabelKey] ?? '')
      if (role >= 0 && this.#inScope(labels)) domains[number]!.counts[role]!++
    }
    this.#domains = domains
    this.#weights = Float64Array.from(mode === 'disabled' ? domains.map(() => 1) : weightsOf(domains, mode))
    this.#open = new Uint8Array(domains.length)
  }

  begin(candidates: Candidates, ahead: boolean): void {
    const { count, slots, burst } = candidates
    const open = this.#open.fill(0)
    for (let i = 0; i < count; i++) {
      const domain = this.#domainOf[slots[i]!]!
      if (this.#weights[domain]! > 0) open[domain] = 1
    }
    this.#applyHeaders(candidates, ahead)
    if (this.#gating.mode === 'disabled') return
    this.#chosen = burst >= 0 && open[this.#domainOf[burst]!] === 1 ? this.#domainOf[burst]! : this.#draw()
  }

  screen({ count, slots }: Candidates, kept: Uint8Array): void {
    const gated = this.#gating.mode !== 'disabled'
    for (let i = 0; i < count; i++) {
      const domain = this.#domainOf[slots[i]!]!
      if (gated ? domain !== this.#chosen : this.#open[domain] === 0) kept[i] = 0
    }
  }

  figures(): RolloutFigures {
    const { mode } = this.#gating
    const total = this.#weights.reduce((sum, weight) => sum + weight, 0)
    const shares = new Map<string, number>()
    if (mode !== 'disabled')
      for (const [number, { revision }] of this.#domains.entries()) {
        if (revision === '') continue
        const share = total === 0 ? 0 : this.#weights[number]! / total
        shares.set(revision, (shares.get(revision) ?? 0) + share)
      }
    return { mode, shares, noMatch: new Map(this.#strict.map(({ name }, s) => [name, this.#noMatch[s] ?? 0])) }
  }

  /** Closes the domains that the request's strict headers exclude. */
  #applyHeaders({ headers }: Candidates, ahead: boolean): void {
    const open = this.#open
    for (let s = 0; s < this.#strict.length; s++) {
      const wanted = headers?.common(this.#strict[s]!.header) ?? ''
      if (wanted === '') continue
      let closed = false
      let left = false
      for (let domain = 0; domain < open.length; domain++) {
        if (open[domain] === 0) continue
        if (this.#domains[domain]!.values[s] === wanted) left = true
        else {
          open[domain] = 0
          closed = true
        }
      }
      if (closed && !left && !ahead && s < this.#noMatch.length) Atomics.add(this.#noMatch, s, 1)
    }
  }

  #draw(): number {
    const [open, weights] = [this.#open, this.#weights]
    let total = 0
    for (let domain = 0; domain < open.length; domain++) total += open[domain]! * weights[domain]!
    let chosen = NONE
    let left = this.#random.unit() * total
    for (let domain = 0; domain < open.length; domain++) {
      if (open[domain] === 0) continue
      chosen = domain
      left -= weights[domain]!
      if (left <= 0) break
    }
    return chosen
  }
}

interface Domain {
  /** Empty: its endpoints have none. */
  readonly revision: string
  /** By strict selector; empty: its endpoints don't have the label. */
  readonly values: readonly string[]
  /** Endpoints in scope by required role. */
  readonly counts: number[]
}

/** Of each domain's endpoints by role; 0 where a role has none. */
function weightsOf(domains: readonly Domain[], mode: 'sum' | 'max-role'): number[] {
  const isComplete = ({ revision, counts }: Domain) => revision !== '' && !counts.includes(0)
  const complete = domains.filter(isComplete)
  const totals = (domains[0]?.counts ?? []).map((_, role) =>
    complete.reduce((sum, { counts }) => sum + counts[role]!, 0),
  )
  // Of equal ones the first.
  const largest = totals.indexOf(Math.max(...totals))
  return domains.map(domain => {
    if (!isComplete(domain)) return 0
    const { counts } = domain
    return mode === 'max-role' ? counts[largest]! : counts.reduce((sum, count) => sum + count, 0)
  })
}

export const disaggregatedsetRolloutScreener: ScreenerType = {
  type: ROLLOUT_SCREENER,
  role: 'screener',
  parameters: rolloutScreenerParameters,
  createScreener: given => new RolloutScreener(rolloutScreenerParameters.parse(given)),
}
