/** Waiting times between attempts: they double up to a limit, and each is drawn from its upper half, so that clients part. */
export class BackOff {
  readonly #firstMs: number
  readonly #limitMs: number
  #nextMs: number

  constructor(firstMs: number, limitMs: number) {
    this.#firstMs = firstMs
    this.#limitMs = limitMs
    this.#nextMs = firstMs
  }

  next(): number {
    const delay = this.#nextMs
    this.#nextMs = Math.min(this.#limitMs, delay * 2)
    return delay * (0.5 + Math.random() / 2)
  }

  reset(): void {
    this.#nextMs = this.#firstMs
  }
}
