/**
 * Shares the main thread: what all feeds together have to do is done in turns of the event loop, so much in each, a step of each feed
 * after the other. What fits into this turn is done at once.
 */

export interface TurnJob {
  /** Does a step. Returns whether there is more to do. Must not throw. */
  step(): boolean
  /** What the last step cost, in blocks. */
  readonly spent: number
}

export class Turns {
  readonly #most: number
  #left: number
  readonly #jobs: TurnJob[] = []
  #running = false
  /** The next turn is asked for. */
  #asked = false

  /** `most`: blocks in a turn. The last step may go beyond. */
  constructor(most: number) {
    this.#most = this.#left = most
  }

  /** Steps through the job until it is done, perhaps before this returns. */
  enter(job: TurnJob): void {
    this.#jobs.push(job)
    if (!this.#running) this.#run()
  }

  /** Does `step`, which returns what it cost, in blocks, until that is 0; perhaps before this returns. */
  repeat(step: () => number): void {
    const job = {
      spent: 0,
      step: () => {
        job.spent = step()
        return job.spent > 0
      },
    }
    this.enter(job)
  }

  /** The job is not wanted any more. */
  leave(job: TurnJob): void {
    const at = this.#jobs.indexOf(job)
    if (at >= 0) this.#jobs.splice(at, 1)
  }

  #run(): void {
    this.#running = true
    while (this.#left > 0) {
      const job = this.#jobs.shift()
      if (job === undefined) break
      if (job.step()) this.#jobs.push(job)
      this.#left -= job.spent
    }
    this.#running = false
    if (this.#asked) return
    this.#asked = true
    setImmediate(() => {
      this.#asked = false
      this.#left = this.#most
      if (this.#jobs.length > 0) this.#run()
    })
  }
}

/** What the feeds of all pools have to do. Blocks of a turn: about five milliseconds. */
export const TURNS = new Turns(512)
