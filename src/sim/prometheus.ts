/**
 * A metrics page as the Python client of Prometheus writes it (text format 0.0.4): labels in order of their names, every number
 * with a fraction. Pages that look like the real one keep parsers honest.
 */

export type Labels = Readonly<Record<string, string>>

export class MetricsPage {
  readonly #lines: string[] = []

  family(name: string, type: 'counter' | 'gauge' | 'histogram', help: string): this {
    this.#lines.push(`# HELP ${name} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}`, `# TYPE ${name} ${type}`)
    return this
  }

  sample(name: string, labels: Labels, value: number): this {
    this.#lines.push(`${name}${labelText(labels)} ${number(value)}`)
    return this
  }

  toString(): string {
    return `${this.#lines.join('\n')}\n`
  }
}

/** Counts of observations up to each bound, their sum and their number. */
export class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0
  #count = 0

  /** @param bounds Upper bounds, ascending, without infinity. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = bounds.map(() => 0)
  }

  observe(value: number): void {
    const bucket = this.#bounds.findIndex(bound => value <= bound)
    if (bucket >= 0) this.#counts[bucket]! += 1
    this.#sum += value
    this.#count++
  }

  write(page: MetricsPage, name: string, labels: Labels): void {
    let total = 0
    for (const [i, bound] of this.#bounds.entries()) {
      total += this.#counts[i]!
      page.sample(`${name}_bucket`, { ...labels, le: number(bound) }, total)
    }
    page.sample(`${name}_bucket`, { ...labels, le: '+Inf' }, this.#count)
    page.sample(`${name}_count`, labels, this.#count)
    page.sample(`${name}_sum`, labels, this.#sum)
  }
}

function labelText(labels: Labels): string {
  const names = Object.keys(labels).sort()
  if (names.length === 0) return ''
  return `{${names.map(name => `${name}="${escapeValue(labels[name]!)}"`).join(',')}}`
}

function escapeValue(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
}

function number(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value)
}
