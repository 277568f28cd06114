/** The project's own `Pool`, fed by the simulation's scrapes: the class that decides in production, with its clock turned by hand. */
import { PickResult, PickStatus } from '../../../src/inference/pool.ts'
import type { SchedulingPlan } from '../../../src/inference/pool-plan.ts'
import { PrefixHasher } from '../../../src/inference/prefix-hasher.ts'
import { addresses, LocalPool, poolPlan, request } from '../../../src/inference/testing.ts'
import type { ContenderKind } from './contender.ts'
import { BASE_MODEL } from './workloads.ts'

const PREFIX_BLOCK_BYTES = 512
const PREFIX_BYTES = 128 * 1024
/** Time 0 means "never" to a table. */
const EPOCH_MS = 1_000_000

export function signalbox(name: string, title: string, scorers: SchedulingPlan['scorers']): ContenderKind {
  return { name, title, create: (replicas, seed) => create(replicas, seed, scorers) }
}

function create(replicas: number, _seed: number, scorers: SchedulingPlan['scorers']) {
  const all = addresses(replicas)
  const plan = (list: readonly string[]) =>
    poolPlan(list, { scheduling: { scorers, prefixBlockBytes: PREFIX_BLOCK_BYTES, prefixBlocksPerEndpoint: 32_768 } })
  const pool = new LocalPool(plan(all), { releaseBy: 'response' })
  const slots = all.map(address => pool.table.slotOf(address)!)
  const generations = slots.map(slot => pool.table.generation[slot]!)
  slots.forEach((slot, i) => pool.listed(slot, generations[i]!, [{ id: BASE_MODEL }]))
  const result = new PickResult()
  const hasher = new PrefixHasher()
  const gone = new Set<number>()
  return {
    pick({ model, prompt }: { readonly model: string; readonly prompt: Uint32Array }, now: number) {
      const bytes = new Uint8Array(prompt.buffer, prompt.byteOffset, prompt.byteLength)
      hasher.reset(PREFIX_BLOCK_BYTES, PREFIX_BYTES)
      hasher.update(bytes, 0, bytes.length)
      const nowMs = EPOCH_MS + now
      const status = pool.pick(request({ model, prefix: hasher, promptBytes: bytes.length, nowMs }), result)
      if (status !== PickStatus.OK) throw new Error(`pick: ${status}`)
      return slots.indexOf(result.slots[0]!)
    },
    over(replica: number) {
      pool.release(slots[replica]!, generations[replica]!)
    },
    scraped(replica: number, page: Parameters<LocalPool['scrapeSucceeded']>[2] | undefined, now: number) {
      if (gone.has(replica)) return
      const [slot, generation] = [slots[replica]!, generations[replica]!]
      pool.scrapeBegan(slot)
      if (page === undefined) pool.scrapeFailed(slot, generation, 'refused')
      else pool.scrapeSucceeded(slot, generation, page, EPOCH_MS + now)
    },
    removed(replica: number) {
      gone.add(replica)
      pool.update(plan(all.filter((_, i) => !gone.has(i))))
    },
  }
}
