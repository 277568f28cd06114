/** When the steps of a pick began and ended, plug-in by plug-in. Made only for picks of which somebody wants to know; times as `performance.now()`. */

export const Step = { FILTER: 'Filter', SCORER: 'Scorer', PICKER: 'Picker' } as const
export type Step = (typeof Step)[keyof typeof Step]

export interface PluginTime {
  readonly step: Step
  readonly type: string
  readonly startedAt: number
  readonly endedAt: number
}

export interface ProfileTime {
  readonly name: string
  readonly startedAt: number
  /** Candidates before and after the filters. */
  readonly candidates: number
  filtered: number
  readonly plugins: PluginTime[]
  endedAt: number
}

export class PickTimes {
  /** One for each scheduling profile that ran. */
  readonly profiles: ProfileTime[] = []
  readonly #now: () => number
  #lapAt = 0

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** A profile begins with so many candidates. */
  begin(name: string, candidates: number): void {
    const startedAt = this.#now()
    this.#lapAt = startedAt
    this.profiles.push({ name, startedAt, candidates, filtered: candidates, plugins: [], endedAt: startedAt })
  }

  /** Its filters have left so many. */
  filtered(count: number): void {
    const profile = this.profiles.at(-1)!
    profile.filtered = count
    profile.endedAt = this.#now()
  }

  /** A plug-in is done that began when the one before it was. */
  lap(step: Step, type: string): void {
    const endedAt = this.#now()
    const profile = this.profiles.at(-1)!
    profile.plugins.push({ step, type, startedAt: this.#lapAt, endedAt })
    profile.endedAt = endedAt
    this.#lapAt = endedAt
  }
}
