import { OTHER } from './label-limit.ts'
import type { SeriesFamily } from './series-family.ts'

/** Series of one value. */
interface SeriesOfValue {
  readonly gauges: Set<number>
  readonly others: Set<number>
}

/** The series in which a value stands at some of the labels: found without a look at all the others. `other` is not indexed. */
export class ValueIndex {
  readonly #isGauge: readonly boolean[]
  /** By family: where the labels stand. */
  readonly #places: readonly (readonly number[])[]
  readonly #values = new Map<string, SeriesOfValue>()

  constructor(families: readonly SeriesFamily[], names: ReadonlySet<string>) {
    this.#isGauge = families.map(({ type }) => type === 'gauge')
    this.#places = families.map(({ labels }) => [...labels.keys()].filter(place => names.has(labels[place]!)))
  }

  /** Undefined: there are none. */
  get(value: string): SeriesOfValue | undefined {
    return this.#values.get(value)
  }

  add(family: number, series: number, labels: readonly string[]): void {
    for (const place of this.#places[family]!) {
      const value = labels[place]!
      if (value === OTHER) continue
      let of = this.#values.get(value)
      if (of === undefined) this.#values.set(value, (of = { gauges: new Set(), others: new Set() }))
      const { gauges, others } = of
      if (this.#isGauge[family]) gauges.add(series)
      else others.add(series)
    }
  }

  delete(family: number, series: number, labels: readonly string[]): void {
    for (const place of this.#places[family]!) {
      const of = this.#values.get(labels[place]!)
      if (of === undefined) continue
      of.gauges.delete(series)
      of.others.delete(series)
      if (of.gauges.size === 0 && of.others.size === 0) this.#values.delete(labels[place]!)
    }
  }

  /** The labels, with `other` where `value` stands at one of those that are indexed. */
  without(family: number, labels: readonly string[], value: string): string[] {
    const places = this.#places[family]!
    return labels.map((label, place) => (label === value && places.includes(place) ? OTHER : label))
  }
}
