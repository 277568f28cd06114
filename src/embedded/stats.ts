/** Counters and gauges of the embedded data plane under Envoy's names. */
export class Stats {
  readonly #values = new Map<string, number>()

  add(name: string, by = 1): void {
    this.#values.set(name, (this.#values.get(name) ?? 0) + by)
  }

  get(name: string): number {
    return this.#values.get(name) ?? 0
  }

  /** A copy, sorted by name. */
  snapshot(): Record<string, number> {
    return Object.fromEntries([...this.#values].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}
