/** An engine's plan made ready for reading its pages: families to search for, and what is wanted of each. Shared by all its replicas. */
import type { CustomMetricPlan, EnginePlan, MetricSpec } from './pool-plan.ts'
import { Signal, type Total, TOTALS } from './replica-metrics.ts'
import { escapedLabelValue } from './series.ts'

export const WantKind = { SCALAR: 0, CACHE_INFO: 1, LORA: 2 } as const

/** Something to be had from a family's series. */
export interface Want {
  /** Place among the wants of the engine. */
  readonly id: number
  readonly kind: (typeof WantKind)[keyof typeof WantKind]
  /** Bit of `Signal`. */
  readonly signal: number
  /** A series must have all of them; names and escaped values. */
  readonly labels: readonly { readonly name: Buffer; readonly value: Buffer }[]
  /** May be below 0. */
  readonly signed: boolean
  readonly max: boolean
}

export interface Family {
  /** A newline and the name. */
  readonly needle: Buffer
  readonly name: Buffer
  readonly wants: readonly Want[]
  /** A page of the engine should have it. */
  readonly required: boolean
  /** Place of a family that is of no interest where this one is there. */
  readonly instead: number | undefined
}

export interface AttributeWant {
  readonly want: Want
  /** Place among the endpoint's attributes. */
  readonly index: number
  readonly scale: number
}

export class EnginePage {
  readonly name: string
  readonly families: readonly Family[]
  readonly wants: number
  readonly waiting: Want | undefined
  readonly running: Want | undefined
  readonly kvUsage: Want | undefined
  readonly oldKvUsage: Want | undefined
  readonly blockSize: Want | undefined
  readonly blockCount: Want | undefined
  readonly cacheInfo: Want | undefined
  /** What only counts up; those of one field are added. */
  readonly totals: readonly { readonly want: Want; readonly field: Total }[]
  readonly lora: Want | undefined
  readonly blockSizeLabel: Buffer | undefined
  readonly blockCountLabel: Buffer | undefined
  readonly attributes: readonly AttributeWant[]
  /** Bits of `Signal` that a page of this engine should have. */
  readonly required: number

  /** `attributes`: the pool's names. Custom metrics that are not among them are left out. */
  constructor(plan: EnginePlan, attributes: readonly string[] = []) {
    const families = new Map<string, Want[]>()
    let wants = 0
    const want = (spec: MetricSpec | undefined, signal: number, changes: Partial<Want> = {}): Want | undefined => {
      if (spec === undefined) return undefined
      const labels = Object.entries(spec.labels).map(([name, value]) => ({
        name: Buffer.from(name),
        value: escapedLabelValue(value),
      }))
      const made = { id: wants++, kind: WantKind.SCALAR, signal, labels, signed: false, max: false, ...changes }
      const family = families.get(spec.name)
      if (family === undefined) families.set(spec.name, [made])
      else family.push(made)
      return made
    }
    this.name = plan.name
    this.waiting = want(plan.waiting, Signal.WAITING)
    this.running = want(plan.running, Signal.RUNNING)
    this.kvUsage = want(plan.kvUsage, Signal.KV_USAGE)
    this.oldKvUsage = want(plan.oldKvUsage, Signal.KV_USAGE)
    this.blockSize = want(plan.blockSize, Signal.BLOCK_SIZE)
    this.blockCount = want(plan.blockCount, Signal.BLOCK_COUNT)
    this.cacheInfo = want(plan.cacheInfo, Signal.BLOCK_SIZE, { kind: WantKind.CACHE_INFO })
    this.lora = want(plan.lora, Signal.LORA, { kind: WantKind.LORA })
    const totals = TOTALS.flatMap((field): { want: Want; field: Total }[] => {
      const made = want(plan[field], 0)
      return made === undefined ? [] : [{ want: made, field }]
    })
    for (const { count, seconds } of plan.tokenTimes ?? []) {
      totals.push({ want: want(count, 0)!, field: 'tokenGaps' }, { want: want(seconds, 0)!, field: 'tokenGapSeconds' })
    }
    this.totals = totals
    this.blockSizeLabel = labelName(plan.blockSizeLabel)
    this.blockCountLabel = labelName(plan.blockCountLabel)
    this.attributes = (plan.custom ?? []).flatMap(custom => attributeWant(custom, attributes, want))
    const places = [...families.keys()]
    const isTotal = (id: number) => this.totals.some(({ want: total }) => total.id === id)
    this.families = Array.from(families, ([name, list]) => {
      const needle = Buffer.from(`\n${name}`)
      const required = list.some(({ id }) => id !== this.oldKvUsage?.id && id !== this.lora?.id && !isTotal(id))
      const instead = list.every(({ id }) => id === this.kvUsage?.id) ? places.indexOf(plan.oldKvUsage?.name ?? '') : -1
      return { needle, name: needle.subarray(1), wants: list, required, instead: instead < 0 ? undefined : instead }
    })
    this.wants = wants
    this.required = this.#required()
  }

  #required(): number {
    let bits = 0
    for (const want of [this.waiting, this.running, this.kvUsage, this.blockSize, this.blockCount])
      bits |= want?.signal ?? 0
    if (this.cacheInfo !== undefined && this.blockSizeLabel !== undefined) bits |= Signal.BLOCK_SIZE
    if (this.cacheInfo !== undefined && this.blockCountLabel !== undefined) bits |= Signal.BLOCK_COUNT
    return this.attributes.length > 0 ? bits | Signal.ATTRIBUTE : bits
  }
}

function labelName(name: string | undefined): Buffer | undefined {
  return name === undefined || name === '' ? undefined : Buffer.from(name)
}

function attributeWant(
  { attribute, spec, scale = 1, of }: CustomMetricPlan,
  attributes: readonly string[],
  want: (spec: MetricSpec, signal: number, changes: Partial<Want>) => Want | undefined,
): AttributeWant[] {
  const index = attributes.indexOf(attribute)
  if (index < 0) return []
  const made = want(spec, Signal.ATTRIBUTE, { signed: true, max: of === 'max' })
  return made === undefined ? [] : [{ want: made, index, scale }]
}
