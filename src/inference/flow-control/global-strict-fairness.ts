import type { FairnessPolicy, Flow } from './fairness-policy.ts'

/** One order over all requests of the band, whoever they belong to. */
export class GlobalStrictFairness implements FairnessPolicy {
  #flow: Flow | undefined

  flowOf(): string {
    return ''
  }

  began(flow: Flow): void {
    this.#flow = flow
  }

  ended(): void {
    this.#flow = undefined
  }

  next(): Flow {
    return this.#flow!
  }

  served(): void {}
}
