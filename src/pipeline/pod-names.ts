import type { PoolPlan } from '../inference/pool-plan.ts'

/** Names of a pool's pods by address, made once for each plan. */
export class PodNames {
  readonly #names = new WeakMap<PoolPlan, ReadonlyMap<string, string>>()

  /** `otherwise`: the endpoint is no pod. */
  of(plan: PoolPlan, address: string, otherwise: string): string {
    let names = this.#names.get(plan)
    if (names === undefined) {
      names = new Map(
        plan.endpoints.flatMap(({ address, pod }) => (pod === undefined ? [] : [[address, pod] as const])),
      )
      this.#names.set(plan, names)
    }
    return names.get(address) ?? otherwise
  }
}
