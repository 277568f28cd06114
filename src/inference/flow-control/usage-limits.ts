/** How saturated the pool may be for a request of each band to be sent on (epp.md §3.10). */

/** Sets `ceilings[i]` for the bands with `priorities[i]`, highest first. Called once a decision; must not allocate. */
export interface UsageLimit {
  ceilings(saturation: number, priorities: readonly number[], ceilings: Float64Array): void
}

/** The same for all. */
export class StaticUsageLimit implements UsageLimit {
  readonly #threshold: number

  constructor({ threshold }: { readonly threshold: number }) {
    this.#threshold = threshold
  }

  ceilings(_saturation: number, { length }: readonly number[], ceilings: Float64Array): void {
    ceilings.fill(this.#threshold, 0, length)
  }
}

export interface PriorityHoldbackParameters {
  readonly domain: 'rank' | 'value'
  readonly minCeiling: number
  readonly maxCeiling: number
}

/** From `maxCeiling` for the highest band down to `minCeiling` for the lowest, in a line by the bands' ranks or by their priorities. */
export class PriorityHoldback implements UsageLimit {
  readonly #parameters: PriorityHoldbackParameters

  constructor(parameters: PriorityHoldbackParameters) {
    this.#parameters = parameters
  }

  ceilings(_saturation: number, priorities: readonly number[], ceilings: Float64Array): void {
    const { domain, minCeiling, maxCeiling } = this.#parameters
    const { length } = priorities
    const span = priorities[0]! - priorities[length - 1]!
    for (let i = 0; i < length; i++) {
      const down = domain === 'rank' ? i / (length - 1) : (priorities[0]! - priorities[i]!) / span
      ceilings[i] = length === 1 ? maxCeiling : maxCeiling - (maxCeiling - minCeiling) * down
    }
  }
}

/**
 * The fuller the pool, the lower the ceilings of the lower bands: 1 − i·saturation/(N−1) for the band of rank i. Softly: after every
 * round(saturation/(1−saturation)) decisions so limited, one is free of it, so that low bands go on in proportion to what is left.
 */
export class SoftReflectiveCeiling implements UsageLimit {
  #limited = 0

  ceilings(saturation: number, { length }: readonly number[], ceilings: Float64Array): void {
    const period = saturation >= 1 ? Number.POSITIVE_INFINITY : Math.round(saturation / (1 - saturation))
    if (this.#limited >= period || length === 1) {
      this.#limited = 0
      ceilings.fill(1, 0, length)
      return
    }
    this.#limited++
    for (let i = 0; i < length; i++) ceilings[i] = 1 - (i * saturation) / (length - 1)
  }
}
