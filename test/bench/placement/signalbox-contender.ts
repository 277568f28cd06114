/** The project's own `Pool`, fed by the simulation's scrapes: the class that decides in production, with its clock turned by hand. */
import { ALONE } from '../../../src/inference/endpoint-slots.ts'
import { Pool } from '../../../src/inference/pool.ts'
import { PickResult, PickStatus } from '../../../src/inference/pick.ts'
import { PoolKeeper } from '../../../src/inference/pool-keeper.ts'
import type { SchedulingPlan } from '../../../src/inference/pool-plan.ts'
import { PrefixHasher } from '../../../src/inference/prefix-hasher.ts'
import { DEFAULT_SCORERS } from '../../../src/inference/scheduling/scorers/registry.ts'
import { addresses, poolPlan, request } from '../../../src/inference/testing.ts'
import { Random } from '../../../src/sim/random.ts'
import type { Contender, ContenderKind } from './contender.ts'
import { BASE_MODEL } from './workloads.ts'

const PREFIX_BLOCK_BYTES = 512
const PREFIX_BYTES = 128 * 1024
/** Time 0 means "never" to a table. */
const EPOCH_MS = 1_000_000

/** With `threads` threads that decide: each request comes to one of them by chance, as connections do. */
export function signalbox(name: string, title: string, threads = 1): ContenderKind {
  return { name, title, create: (replicas, seed) => create(replicas, seed, threads, DEFAULT_SCORERS) }
}

function create(replicas: number, seed: number, threads: number, scorers: SchedulingPlan['scorers']): Contender {
  const all = addresses(replicas)
  const plan = (list: readonly string[]) =>
    poolPlan(list, { scheduling: { scorers, prefixBlockBytes: PREFIX_BLOCK_BYTES, prefixBlocksPerEndpoint: 32_768 } })
  const keeper = new PoolKeeper(plan(all), { releaseBy: 'response', threads: threads + 1 }, ALONE)
  const slots = all.map(address => keeper.table.slotOf(address)!)
  const generations = slots.map(slot => keeper.table.generation[slot]!)
  slots.forEach((slot, i) => keeper.listed(slot, generations[i]!, [{ id: BASE_MODEL }]))
  const pools = Array.from(
    { length: threads },
    (_, i) => new Pool(keeper.share(), { releaseBy: 'response', thread: i + 1, seed: i + 1 }),
  )
  const random = new Random(seed)
  const result = new PickResult()
  const hasher = new PrefixHasher()
  const gone = new Set<number>()
  return {
    pick({ model, prompt }, now) {
      const pool = pools[threads === 1 ? 0 : random.between(0, threads - 1)]!
      const bytes = new Uint8Array(prompt.buffer, prompt.byteOffset, prompt.byteLength)
      hasher.reset(PREFIX_BLOCK_BYTES, PREFIX_BYTES)
      hasher.update(bytes, 0, bytes.length)
      const nowMs = EPOCH_MS + now
      const status = pool.pick(request({ model, prefix: hasher, promptBytes: bytes.length, nowMs }), result)
      if (status !== PickStatus.OK) throw new Error(`pick: ${status}`)
      return slots.indexOf(result.slots[0]!)
    },
    over(replica) {
      pools[0]!.release(slots[replica]!, generations[replica]!)
    },
    scraped(replica, page, now) {
      if (gone.has(replica)) return
      const [slot, generation] = [slots[replica]!, generations[replica]!]
      keeper.scrapeBegan(slot)
      if (page === undefined) keeper.scrapeFailed(slot, generation, 'refused')
      else keeper.scrapeSucceeded(slot, generation, page, EPOCH_MS + now)
    },
    removed(replica) {
      gone.add(replica)
      keeper.update(plan(all.filter((_, i) => !gone.has(i))), ALONE)
      for (const pool of pools) pool.adopt(keeper.share())
    },
  }
}
