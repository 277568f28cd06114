/** The last ids that were put in: enough to tell a late frame from a forged one. */
export class IdRing {
  readonly #ids: Int32Array
  #at = 0

  constructor(size: number) {
    this.#ids = new Int32Array(size)
  }

  add(id: number): void {
    this.#ids[this.#at] = id
    this.#at = this.#at + 1 === this.#ids.length ? 0 : this.#at + 1
  }

  has(id: number): boolean {
    return this.#ids.includes(id)
  }
}
