export interface Doubted {
  /** Of what is known some may have gone. */
  doubt(): void
  /** What was not told of again since is taken to have gone. */
  forgetDoubtful(): void
}

/** How long what is known of an engine is believed after something was missed. */
export class Doubt {
  readonly #target: Doubted
  readonly #ms: number
  #timer: NodeJS.Timeout | undefined
  /** More was missed since: what was confirmed in the meantime gets its own time. */
  #again = false

  constructor(target: Doubted, ms: number) {
    this.#target = target
    this.#ms = ms
  }

  begin(): void {
    if (this.#timer !== undefined) {
      this.#again = true
      return
    }
    this.#target.doubt()
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#target.forgetDoubtful()
      if (!this.#again) return
      this.#again = false
      this.begin()
    }, this.#ms)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}
