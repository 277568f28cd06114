import type { Log } from '../telemetry/log.ts'
import type { Thread } from './thread.ts'
import { Figure, type ThreadFigures } from './thread-figures.ts'

const LOOK_MS = 500
/** Looks without a beat after which a thread counts as hung: no data plane is sent there any more. */
const HUNG_LOOKS = 6
/** … and after which it is replaced. */
const DEAD_LOOKS = 40
/** … and a successor that never comes up. Loading takes a moment, more on a busy machine. */
const STILLBORN_LOOKS = 120

/**
 * Finds threads whose event loop does not turn. Counted in looks, not in time: when this thread was held up itself, the others are not
 * to blame.
 */
export class Watch {
  readonly #threads: readonly Thread[]
  readonly #figures: ThreadFigures
  readonly #log: Log
  /** By column: the last beat, and the looks since then. */
  readonly #beats: number[] = []
  readonly #silent: number[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(threads: readonly Thread[], figures: ThreadFigures, log: Log) {
    this.#threads = threads
    this.#figures = figures
    this.#log = log
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  look(): void {
    for (const thread of this.#threads) {
      const { column, state } = thread
      const beat = this.#figures.get(column, Figure.BEAT)
      const starting = state === 'starting' && thread.restarts > 0
      const silent = beat === this.#beats[column] && (state === 'up' || state === 'hung' || starting)
      this.#beats[column] = beat
      const looks = silent ? (this.#silent[column] ?? 0) + 1 : 0
      this.#silent[column] = looks
      if (looks === 0) thread.setHung(false)
      else if (looks === HUNG_LOOKS) thread.setHung(true)
      else if (looks === (starting ? STILLBORN_LOOKS : DEAD_LOOKS)) {
        this.#log.error({ thread: column }, 'a data path thread has not answered for long: it is replaced')
        this.#silent[column] = 0
        thread.kill()
      }
    }
  }
}
