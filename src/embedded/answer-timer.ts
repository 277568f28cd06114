/** `message_timeout` of one direction: runs while an answer is awaited; the processor may lengthen it once per question. */
export class AnswerTimer {
  readonly #ms: number
  readonly #expired: () => void
  #timer: NodeJS.Timeout | undefined
  #lengthened = false

  constructor(ms: number, expired: () => void) {
    this.#ms = ms
    this.#expired = expired
  }

  start(): void {
    this.#run(this.#ms)
    this.#lengthened = false
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** False: no timer runs, or it was lengthened already. */
  lengthen(ms: number): boolean {
    if (this.#timer === undefined || this.#lengthened) return false
    this.#run(ms)
    this.#lengthened = true
    return true
  }

  #run(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#expired, ms)
  }
}
