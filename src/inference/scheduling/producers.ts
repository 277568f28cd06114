/** The data producers of a pool: what they fill in is there before the first filter looks at it. */
import type { EndpointTable } from '../endpoint-table.ts'
import type { NamedPluginPlan } from '../pool-plan.ts'
import type { Candidates } from './candidates.ts'
import { InflightLoad } from './plugins/inflight-load-producer.ts'
import { KvSource } from './plugins/p2p-source-producer.ts'
import { createProducer } from './plugins/registry.ts'
import { type KeyedPlugin, keyed } from './plugin-memory.ts'
import type { Producer } from './producer.ts'

export class Producers {
  readonly #all: readonly Producer[]
  readonly keyed: readonly KeyedPlugin[]
  readonly #load: InflightLoad | undefined
  readonly #source: KvSource | undefined

  /** Those of the plan that only configure something need not be here. @throws UnknownPluginError, ZodError */
  constructor(plans: readonly NamedPluginPlan[]) {
    const all = plans.flatMap(plan => {
      const producer = createProducer(plan)
      return producer === undefined ? [] : [{ plan, producer }]
    })
    this.#all = all.map(({ producer }) => producer)
    this.keyed = keyed(
      '',
      all.map(({ plan }) => plan),
      this.#all,
    )
    this.#source = this.#all.find(producer => producer instanceof KvSource)
    this.#load = this.#all.find(producer => producer instanceof InflightLoad)
  }

  get isEmpty(): boolean {
    return this.#all.length === 0
  }

  /** Goes over to the endpoints that the table has now. */
  adopt(table: EndpointTable): void {
    for (const producer of this.#all) producer.adopt?.(table)
  }

  produce(candidates: Candidates, table: EndpointTable): void {
    for (let p = 0; p < this.#all.length; p++) this.#all[p]!.produce(candidates, table)
  }

  /** The request goes to this candidate. */
  chosen(candidates: Candidates, table: EndpointTable, choice: number): void {
    for (let p = 0; p < this.#all.length; p++) this.#all[p]!.chosen?.(candidates, table, choice)
  }

  /** The slot that the one which computes the prompt may fetch it from; −1 = none. */
  sourceFor(slot: number): number {
    return this.#source === undefined ? -1 : this.#source.sourceFor(slot)
  }

  /** Tokens that the request adds to those in flight at this candidate; 0 where nobody counts them. */
  tokensOf(candidates: Candidates, choice: number): number {
    return this.#load === undefined ? 0 : this.#load.tokensOf(candidates, choice)
  }

  /** … and as many of them as its answer is expected to have. */
  answerTokensOf(candidates: Candidates): number {
    return this.#load === undefined ? 0 : this.#load.answerTokensOf(candidates)
  }
}
