/** The tokens of a request's prompts, and what their blocks depend on beside them. Pooled. */
export class TokenIds {
  ids = new Uint32Array(0)
  count = 0
  /** Where each prompt ends; the last one ends at `count`. */
  readonly ends: number[] = []
  /** Hash of the salt that goes into the first block (./hash-text.ts); 0 = none. */
  salt = 0

  clear(): void {
    this.count = 0
    this.ends.length = 0
    this.salt = 0
    // A long prompt's room is not kept for short ones.
    if (this.ids.length > MAX_KEPT) this.ids = new Uint32Array(0)
  }

  push(id: number): void {
    if (this.count === this.ids.length) {
      const larger = new Uint32Array(Math.max(1024, this.ids.length * 2))
      larger.set(this.ids)
      this.ids = larger
    }
    this.ids[this.count++] = id
  }

  endPrompt(): void {
    this.ends.push(this.count)
  }
}

const MAX_KEPT = 64 * 1024
