import type { HeaderList } from './header-list.ts'

/** Takes one direction of a HTTP message in order: headers, any data, perhaps trailers. `end` is said once, or trailers say it. */
export interface MessageSink {
  headers(headers: HeaderList, end: boolean): void
  data(bytes: Uint8Array, end: boolean): void
  trailers(trailers: HeaderList): void
}

/** Who may ask the source of a message to wait. */
export const HoldReason = { FILTER: 1, PROCESSOR: 2, PEER: 4 } as const
export type HoldReason = (typeof HoldReason)[keyof typeof HoldReason]

/** The tap of a source: closed while at least one reason holds it. */
export class Flow {
  #held = 0
  readonly #changed: (open: boolean) => void

  constructor(changed: (open: boolean) => void) {
    this.#changed = changed
  }

  get open(): boolean {
    return this.#held === 0
  }

  hold(reason: HoldReason): void {
    const before = this.#held
    this.#held |= reason
    if (before === 0) this.#changed(false)
  }

  release(reason: HoldReason): void {
    const before = this.#held
    this.#held &= ~reason
    if (before !== 0 && this.#held === 0) this.#changed(true)
  }

  releaseAll(): void {
    const before = this.#held
    this.#held = 0
    if (before !== 0) this.#changed(true)
  }
}
