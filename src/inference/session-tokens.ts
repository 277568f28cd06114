/**
 * What names an endpoint to its clients, so that they can ask for it again: base64 of `namespace/name`, as llm-d has it (epp.md §1.7), where
 * a pod's name is `<pod>-rank-<n>`; of an endpoint that is no pod the address stands for the name. Tokens of both forms that llm-d has had
 * are understood, with the rank and without where a pod has only one.
 */
import type { EndpointTable } from './endpoint-table.ts'
import type { EndpointPlan } from './pool-plan.ts'

/** Longer ones are none of ours. */
const LONGEST = 512

export class SessionTokens {
  readonly #slots = new Map<string, number>()
  readonly #tokens: (string | undefined)[] = []

  /** `pool`: `namespace/name`. */
  constructor(pool: string, endpoints: readonly EndpointPlan[], table: EndpointTable) {
    const namespace = pool.slice(0, pool.indexOf('/'))
    const shared = new Set<string>()
    for (const { address, pod, rank = 0 } of endpoints) {
      const slot = table.slotOf(address)
      if (slot === undefined) continue
      const token = tokenOf(namespace, pod === undefined ? address : `${pod}-rank-${rank}`)
      this.#tokens[slot] = token
      this.#slots.set(token, slot)
      if (pod === undefined) continue
      const plain = tokenOf(namespace, pod)
      if (this.#slots.has(plain)) shared.add(plain)
      else this.#slots.set(plain, slot)
    }
    for (const token of shared) this.#slots.delete(token)
  }

  /** −1: nobody that is there has this token. */
  slotOf(token: string): number {
    return token.length > LONGEST ? -1 : (this.#slots.get(token) ?? -1)
  }

  of(slot: number): string | undefined {
    return this.#tokens[slot]
  }
}

function tokenOf(namespace: string, name: string): string {
  return Buffer.from(`${namespace}/${name}`).toString('base64')
}
