import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

/** One sample of a family: label values in the order of its label names. */
export interface Sample {
  readonly labels: readonly string[]
  readonly value: number
}

/** One series of a histogram: how many were counted in each bucket alone, the last one beyond all upper ends. */
export interface HistogramSample {
  readonly labels: readonly string[]
  readonly buckets: readonly number[]
  readonly sum: number
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

  /** A family of histograms over numbers that only rise. `read` is called for each page. */
  histogram(
    name: string,
    help: string,
    labelNames: readonly string[],
    upperEnds: readonly number[],
    read: () => Iterable<HistogramSample>,
  ): void {
    const registers = [this.#registry]
    const histogram = new Histogram({ name, help, labelNames: [...labelNames], buckets: [...upperEnds], registers })
    // It counts nothing itself.
    const type = 'histogram' as unknown as Awaited<ReturnType<typeof histogram.get>>['type']
    const get = async () => {
      const values = [...read()].flatMap(({ labels: given, buckets, sum }) => {
        const labels = Object.fromEntries(labelNames.map((label, i) => [label, given[i]!]))
        let count = 0
        const series = buckets.map((more, i) => ({
          metricName: `${name}_bucket`,
          exemplar: null,
          labels: { ...labels, le: i < upperEnds.length ? upperEnds[i]! : '+Inf' },
          value: (count += more),
        }))
        return [
          ...series,
          { metricName: `${name}_sum`, exemplar: null, labels, value: sum },
          { metricName: `${name}_count`, exemplar: null, labels, value: count },
        ]
      })
      return { name, help, type, aggregator: 'sum' as const, values }
    }
    // What pages are written from; its types do not know of it.
    Object.assign(histogram, { get, getForPromString: get })
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
