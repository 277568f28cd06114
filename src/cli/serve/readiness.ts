import type { Log } from '../../telemetry/log.ts'

/** Whether we are ready, and why not: what health checks of every kind say. */
export class Readiness {
  readonly #log: Log
  readonly #tell: (ready: boolean) => void
  /** What has to be there before anything can be served. */
  #lacks: string | undefined = 'no configuration yet'
  /** Another replica may be the one that serves. */
  #follows = false
  #draining = false

  /** @param tell is called with what is so from then on */
  constructor(log: Log, tell: (ready: boolean) => void) {
    this.#log = log
    this.#tell = tell
  }

  /** Undefined: we are ready. */
  get whyNot(): string | undefined {
    if (this.#draining) return 'draining'
    return this.#lacks ?? (this.#follows ? 'this replica does not lead' : undefined)
  }

  get draining(): boolean {
    return this.#draining
  }

  /** @param what undefined: nothing */
  lack(what: string | undefined): void {
    if (what !== undefined && what !== this.#lacks && !this.#draining)
      this.#log.warn(`${what} (yet): not ready until there is one`)
    this.#lacks = what
    this.#told()
  }

  /** Where a leader is elected, only that one is ready. */
  follow(follows: boolean): void {
    this.#follows = follows
    this.#told()
  }

  /** From now on not ready, whatever comes. */
  drain(): void {
    this.#draining = true
    this.#told()
  }

  #told(): void {
    this.#tell(this.whyNot === undefined)
  }
}
