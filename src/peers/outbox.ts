import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { EndpointReportSchema, PoolReportSchema, PromptReportSchema } from '../gen/signalbox/peers/v1/peers_pb.ts'
import { ReportSchema } from '../gen/signalbox/peers/v1/peers_pb.ts'
import type { PoolKeeper } from '../inference/pool-keeper.ts'

/** Keys of a report's prompts; those beyond are dropped, as hints may be: a message must stay below gRPC's 4 MiB. */
const MOST_KEYS = 512 * 1024

type PoolInit = MessageInitShape<typeof PoolReportSchema>
type EndpointInit = MessageInitShape<typeof EndpointReportSchema>
type PromptInit = MessageInitShape<typeof PromptReportSchema>

/** What was told of a pool's endpoints last: columns by slot, because most of thousands have not changed since a moment ago. */
class Told {
  /** −1 = nothing was told. */
  generation = new Int32Array(0)
  decided = new Int32Array(0)
  released = new Int32Array(0)
  tokens = new Int32Array(0)
  /** Requests of the pool; −1 = to be told in any case. */
  requests = 0

  reserve(capacity: number): void {
    const { length } = this.generation
    if (length >= capacity) return
    this.generation = larger(this.generation, capacity).fill(-1, length)
    this.decided = larger(this.decided, capacity)
    this.released = larger(this.released, capacity)
    this.tokens = larger(this.tokens, capacity)
  }
}

function larger(column: Int32Array, capacity: number): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(capacity)
  grown.set(column)
  return grown
}

/** Undefined: they are known by endpoint only. */
function requestsOf({ table }: PoolKeeper): number | undefined {
  return table.releaseBy === 'scrape' ? undefined : table.requests.count
}

/** What this replica has to tell others of its pools. */
export class Outbox {
  readonly #pools: () => Iterable<PoolKeeper>
  readonly #told = new WeakMap<PoolKeeper, Told>()
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
      const requests = requestsOf(keeper)
      // Who is told now may miss a change back to what all were told last.
      this.#toldOf(keeper).requests = -1
      if (endpoints.length > 0 || (requests ?? 0) > 0) pools.push({ pool: keeper.plan.name, endpoints, requests })
    }
    return toBinary(ReportSchema, create(ReportSchema, { replica, pools }))
  }

  /** What has changed since this was asked last, to be told to everybody; undefined: nothing. */
  changes(): Uint8Array | undefined {
    const pools: PoolInit[] = []
    let keysLeft = MOST_KEYS
    for (const keeper of this.#pools()) {
      const told = this.#toldOf(keeper)
      const endpoints = this.#changed(keeper, told)
      const requests = requestsOf(keeper)
      const more = requests !== undefined && requests !== told.requests
      if (requests !== undefined) told.requests = requests
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
      if (more || endpoints.length > 0 || prompts.length > 0)
        pools.push({ pool: keeper.plan.name, endpoints, prompts, requests: more ? requests : undefined })
    }
    return pools.length === 0 ? undefined : toBinary(ReportSchema, create(ReportSchema, { pools }))
  }

  #toldOf(keeper: PoolKeeper): Told {
    let told = this.#told.get(keeper)
    if (told === undefined) this.#told.set(keeper, (told = new Told()))
    return told
  }

  #changed(keeper: PoolKeeper, told: Told): EndpointInit[] {
    const changed: EndpointInit[] = []
    const { table } = keeper
    const { counters, currentGeneration, live, liveCount } = table
    told.reserve(table.capacity)
    for (let i = 0; i < liveCount; i++) {
      const slot = live[i]!
      const decided = counters.ownDecided(slot)
      const released = counters.ownReleased(slot)
      const tokens = counters.ownTokens(slot)
      const generation = currentGeneration[slot]!
      const before = told.generation[slot]!
      told.generation[slot] = generation
      const same = before === generation || before < 0
      if (same && told.decided[slot] === decided && told.released[slot] === released && told.tokens[slot] === tokens)
        continue
      told.decided[slot] = decided
      told.released[slot] = released
      told.tokens[slot] = tokens
      const address = table.address(slot)!
      changed.push({ address, decided: decided >>> 0, released: released >>> 0, tokens: Math.max(0, tokens) })
    }
    return changed
  }
}
