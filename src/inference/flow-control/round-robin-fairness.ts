import type { FairnessPolicy, Flow } from './fairness-policy.ts'

/** One request of each flow in turn; a new flow comes last. */
export class RoundRobinFairness implements FairnessPolicy {
  /** The first one is next. A set keeps its order, and takes out of the middle. */
  readonly #ring = new Set<Flow>()

  flowOf(fairnessId: string): string {
    return fairnessId
  }

  began(flow: Flow): void {
    this.#ring.add(flow)
  }

  ended(flow: Flow): void {
    this.#ring.delete(flow)
  }

  next(): Flow {
    for (const flow of this.#ring) return flow
    throw new RangeError('no flow waits')
  }

  served(flow: Flow): void {
    if (this.#ring.delete(flow)) this.#ring.add(flow)
  }
}
