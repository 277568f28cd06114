import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { EndpointReportSchema, PoolReportSchema, PromptReportSchema } from '../gen/signalbox/peers/v1/peers_pb.ts'
import { ReportSchema } from '../gen/signalbox/peers/v1/peers_pb.ts'
import type { PoolKeeper } from '../inference/pool-keeper.ts'

/** Keys of a report's prompts; those beyond are dropped, as hints may be: a message must stay below gRPC's 4 MiB. */
const MOST_KEYS = 512 * 1024

type PoolInit = MessageInitShape<typeof PoolReportSchema>
type EndpointInit = MessageInitShape<typeof EndpointReportSchema>
type PromptInit = MessageInitShape<typeof PromptReportSchema>

/** What was told of a pool's endpoints last, by slot. */
interface Told {
  generation: number
  decided: number
  released: number
  tokens: number
}

/** What this replica has to tell others of its pools. */
export class Outbox {
  readonly #pools: () => Iterable<PoolKeeper>
  readonly #told = new WeakMap<PoolKeeper, Map<number, Told>>()
  /** Prompts told so far, and those that were dropped because there were too many. */
  prompts = 0
  dropped = 0

  constructor(pools: () => Iterable<PoolKeeper>) {
    this.#pools = pools
  }

  /** All endpoints that anything was sent to. `replica`: who tells, for the first report of a call. */
  state(replica: string): Uint8Array {
    const pools: PoolInit[] = []
    for (const keeper of this.#pools()) {
      const endpoints: EndpointInit[] = []
      for (const { address, decided, released, tokens } of keeper.ownCounts())
        if (decided !== 0)
          endpoints.push({ address, decided: decided >>> 0, released: released >>> 0, tokens: Math.max(0, tokens) })
      if (endpoints.length > 0) pools.push({ pool: keeper.plan.name, endpoints })
    }
    return toBinary(ReportSchema, create(ReportSchema, { replica, pools }))
  }

  /** What has changed since this was asked last, to be told to everybody; undefined: nothing. */
  changes(): Uint8Array | undefined {
    const pools: PoolInit[] = []
    let keysLeft = MOST_KEYS
    for (const keeper of this.#pools()) {
      const endpoints = this.#changed(keeper)
      const prompts: PromptInit[] = []
      keeper.takePrefixes(({ address, keys, blocks, promptBytes }) => {
        keysLeft -= 2 * blocks
        if (keysLeft < 0) {
          this.dropped++
          return
        }
        this.prompts++
        prompts.push({ address, keys: Array.from(keys.subarray(0, 2 * blocks)), bytes: promptBytes })
      })
      if (endpoints.length > 0 || prompts.length > 0) pools.push({ pool: keeper.plan.name, endpoints, prompts })
    }
    return pools.length === 0 ? undefined : toBinary(ReportSchema, create(ReportSchema, { pools }))
  }

  #changed(keeper: PoolKeeper): EndpointInit[] {
    const changed: EndpointInit[] = []
    let told = this.#told.get(keeper)
    if (told === undefined) this.#told.set(keeper, (told = new Map()))
    for (const { address, slot, generation, decided, released, tokens } of keeper.ownCounts()) {
      let before = told.get(slot)
      if (before === undefined) told.set(slot, (before = { generation, decided: 0, released: 0, tokens: 0 }))
      const same = before.generation === generation && before.decided === decided && before.released === released
      if (same && before.tokens === tokens) continue
      Object.assign(before, { generation, decided, released, tokens })
      changed.push({ address, decided: decided >>> 0, released: released >>> 0, tokens: Math.max(0, tokens) })
    }
    return changed
  }
}
