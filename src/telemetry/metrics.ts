import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'

/** One sample of a family: label values in the order of its label names. */
export interface Sample {
  readonly labels: readonly string[]
  readonly value: number
}

/**
 * The process's Prometheus page. Families are read when the page is asked for: the data path only counts plain numbers.
 */
export class Metrics {
  readonly #registry = new Registry()

  constructor() {
    collectDefaultMetrics({ register: this.#registry })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  page(): Promise<string> {
    return this.#registry.metrics()
  }

  /** A family of gauges. `read` is called for each page. */
  gauge(name: string, help: string, labelNames: readonly string[], read: () => Iterable<Sample>): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect: () => {
        gauge.reset()
        for (const { labels, value } of read()) gauge.labels(...labels).set(value)
      },
    })
  }

  /** A family of counters over numbers that only rise. `read` is called for each page. */
  counter(name: string, help: string, labelNames: readonly string[], read: () => Iterable<Sample>): void {
    const counter: Counter = new Counter({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect: () => {
        counter.reset()
        for (const { labels, value } of read()) counter.labels(...labels).inc(value)
      },
    })
  }
}
