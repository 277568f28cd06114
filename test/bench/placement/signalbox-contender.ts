/**
 * The project's own `Pool`, fed by the simulation's scrapes: the class that decides in production, with its clock turned by hand. One
 * process, or several that take turns, each with scrapes of its own, which tell each other what they do or do not.
 */
import { ALONE } from '../../../src/inference/endpoint-slots.ts'
import { Pool } from '../../../src/inference/pool.ts'
import { PickResult, PickStatus } from '../../../src/inference/pick.ts'
import { PoolKeeper } from '../../../src/inference/pool-keeper.ts'
import type { PoolPlan } from '../../../src/inference/pool-plan.ts'
import { PrefixHasher } from '../../../src/inference/prefix-hasher.ts'
import type { ReplicaMetrics } from '../../../src/inference/replica-metrics.ts'
import { DEFAULT_SCORERS } from '../../../src/inference/scheduling/scorers/registry.ts'
import { addresses, poolPlan, request } from '../../../src/inference/testing.ts'
import { Random } from '../../../src/sim/random.ts'
import type { Contender, ContenderKind } from './contender.ts'
import { PeerTalk } from './peer-talk.ts'
import { type Arrival, BASE_MODEL } from './workloads.ts'

const PREFIX_BLOCK_BYTES = 512
const PREFIX_BYTES = 128 * 1024
/** Time 0 means "never" to a table. */
const EPOCH_MS = 1_000_000

export interface SignalboxOptions {
  /** Threads that decide: each request comes to one of them by chance, as connections do. Default: 1. */
  readonly threads?: number
  /** Processes, which requests come to in turn. Default: 1. */
  readonly processes?: number
  /** They tell each other what they have in flight and which prompts went where. */
  readonly telling?: boolean
}

export function signalbox(name: string, title: string, options: SignalboxOptions = {}): ContenderKind {
  return { name, title, create: (replicas, seed) => create(replicas, seed, options) }
}

function create(replicas: number, seed: number, { processes = 1, threads = 1, telling = false }: SignalboxOptions) {
  const random = new Random(seed)
  const all = Array.from({ length: processes }, (_, i) => new Process(replicas, threads, i, random, telling))
  const talk = telling ? new PeerTalk(all.map(({ keeper }) => keeper)) : undefined
  const decided = new Map<Arrival, Process>()
  let next = 0
  return {
    pick(arrival, now) {
      talk?.advance(now)
      const process = all[next++ % processes]!
      decided.set(arrival, process)
      return process.pick(arrival, EPOCH_MS + now)
    },
    over(replica, arrival, now) {
      talk?.advance(now)
      decided.get(arrival)!.over(replica)
      decided.delete(arrival)
    },
    scraped(replica, page, now) {
      talk?.advance(now)
      for (const process of all) process.scraped(replica, page, EPOCH_MS + now)
    },
    removed(replica) {
      for (const process of all) process.remove(replica)
    },
  } satisfies Contender
}

class Process {
  readonly keeper: PoolKeeper
  readonly #all: readonly string[]
  readonly #slots: readonly number[]
  readonly #generations: readonly number[]
  readonly #pools: readonly Pool[]
  readonly #random: Random
  readonly #result = new PickResult()
  readonly #hasher = new PrefixHasher()
  readonly #gone = new Set<number>()

  constructor(replicas: number, threads: number, index: number, random: Random, peers: boolean) {
    this.#all = addresses(replicas)
    this.#random = random
    const keeper = new PoolKeeper(this.#plan(), { releaseBy: 'response', threads: threads + 1, peers }, ALONE)
    this.keeper = keeper
    this.#slots = this.#all.map(address => keeper.table.slotOf(address)!)
    this.#generations = this.#slots.map(slot => keeper.table.generation[slot]!)
    this.#slots.forEach((slot, i) => keeper.listed(slot, this.#generations[i]!, [{ id: BASE_MODEL }]))
    this.#pools = Array.from({ length: threads }, (_, i) => {
      return new Pool(keeper.share(), { releaseBy: 'response', thread: i + 1, seed: 1 + i + index * threads })
    })
  }

  pick({ model, prompt }: Arrival, nowMs: number): number {
    const threads = this.#pools.length
    const pool = this.#pools[threads === 1 ? 0 : this.#random.between(0, threads - 1)]!
    const bytes = new Uint8Array(prompt.buffer, prompt.byteOffset, prompt.byteLength)
    const hasher = this.#hasher
    hasher.reset(PREFIX_BLOCK_BYTES, PREFIX_BYTES)
    hasher.update(bytes, 0, bytes.length)
    const status = pool.pick(request({ model, prefix: hasher, promptBytes: bytes.length, nowMs }), this.#result)
    if (status !== PickStatus.OK) throw new Error(`pick: ${status}`)
    return this.#slots.indexOf(this.#result.slots[0]!)
  }

  over(replica: number): void {
    this.#pools[0]!.inFlight.release(this.#slots[replica]!, this.#generations[replica]!)
  }

  scraped(replica: number, page: ReplicaMetrics | undefined, nowMs: number): void {
    if (this.#gone.has(replica)) return
    const [slot, generation] = [this.#slots[replica]!, this.#generations[replica]!]
    this.keeper.scrapeBegan(slot)
    if (page === undefined) this.keeper.scrapeFailed(slot, generation, 'refused')
    else this.keeper.scrapeSucceeded(slot, generation, page, nowMs)
  }

  remove(replica: number): void {
    this.#gone.add(replica)
    this.keeper.update(this.#plan(), ALONE)
    for (const pool of this.#pools) pool.adopt(this.keeper.share())
  }

  #plan(): PoolPlan {
    const scheduling = {
      scorers: DEFAULT_SCORERS,
      prefixBlockBytes: PREFIX_BLOCK_BYTES,
      prefixBlocksPerEndpoint: 32_768,
    }
    return poolPlan(
      this.#all.filter((_, i) => !this.#gone.has(i)),
      { scheduling },
    )
  }
}
