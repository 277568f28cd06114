import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import type { Producer } from '../producer.ts'
import { type ProducerType, scorerType } from './plugin-type.ts'

/** What one image takes, as llm-d reckons. */
const MB_PER_ENTRY = 2
const BUCKETS = 8192
const WAYS = 8
/** Words of an entry: hash (two), slot and generation, number of its last use at that endpoint. */
const LOW = 0
const HIGH = 1
const OWNER = 2
const USED = 3
const ENTRY = 4
const TABLE = BUCKETS * WAYS * ENTRY

const parameters = object({
  cacheSizeInMBPerServer: z
    .int()
    .min(MB_PER_ENTRY)
    .max(1024 * 1024)
    .default(4096),
})

/**
 * Which images, videos and audios endpoints were sent lately (epp.md §3.6), for all threads in one piece of shared memory: a hash table of
 * (hash, endpoint). An endpoint has as many as were used there last; a full bucket forgets its oldest. Written without locks: two
 * threads that write one entry at once may lose it, nothing more.
 */
class MediaCache implements Producer {
  readonly type = 'mm-embeddings-cache-producer'
  readonly #entries: number
  #memory: Int32Array = new Int32Array(0)

  constructor(megabytes: number) {
    this.#entries = Math.floor(megabytes / MB_PER_ENTRY)
  }

  /** The table, and for each slot the uses of entries so far. */
  sharedWords(capacity: number): number {
    return TABLE + capacity
  }

  attach(memory: Int32Array): void {
    this.#memory = memory
  }

  produce({ count, slots, media, mediaHashes }: Candidates, table: EndpointTable): void {
    const items = mediaHashes?.count ?? 0
    for (let i = 0; i < count; i++) {
      let held = 0
      for (let item = 0; item < items; item++) {
        const at = this.#find(mediaHashes!.words[2 * item]!, mediaHashes!.words[2 * item + 1]!, slots[i]!, table)
        if (at >= 0 && this.#age(at, slots[i]!) < this.#entries) held++
      }
      media[i] = items === 0 ? 0 : held / items
    }
  }

  chosen({ slots, mediaHashes }: Candidates, table: EndpointTable, choice: number): void {
    if (mediaHashes === undefined) return
    const slot = slots[choice]!
    const memory = this.#memory
    for (let item = 0; item < mediaHashes.count; item++) {
      const low = mediaHashes.words[2 * item]!
      const high = mediaHashes.words[2 * item + 1]!
      let at = this.#find(low, high, slot, table)
      const uses = Atomics.add(memory, TABLE + slot, 1) + 1
      if (at < 0) at = this.#oldest(bucketOf(low, slot))
      memory[at + LOW] = low
      memory[at + HIGH] = high
      memory[at + OWNER] = ownerOf(slot, table)
      memory[at + USED] = uses | 0
    }
  }

  #find(low: number, high: number, slot: number, table: EndpointTable): number {
    const memory = this.#memory
    const owner = ownerOf(slot, table)
    const bucket = bucketOf(low, slot)
    for (let at = bucket; at < bucket + WAYS * ENTRY; at += ENTRY)
      if (memory[at + LOW] === low && memory[at + HIGH] === high && memory[at + OWNER] === owner) return at
    return -1
  }

  /** Uses of other entries at the endpoint since. */
  #age(at: number, slot: number): number {
    return (this.#memory[TABLE + slot]! - this.#memory[at + USED]!) | 0
  }

  /** An empty entry, or the one that was used longest ago by its endpoint's count. */
  #oldest(bucket: number): number {
    const memory = this.#memory
    let oldest = bucket
    let most = -1
    for (let at = bucket; at < bucket + WAYS * ENTRY; at += ENTRY) {
      if (memory[at + OWNER] === 0) return at
      const age = this.#age(at, slotOf(memory[at + OWNER]!))
      if (age > most) {
        most = age
        oldest = at
      }
    }
    return oldest
  }
}

const SLOT_BITS = 16
const MAX_SLOTS = 1 << SLOT_BITS

/** Never 0: that is an empty entry. Two generations of a slot that share their last 15 bits are years apart. */
function ownerOf(slot: number, { generation }: EndpointTable): number {
  return (((generation[slot]! << 1) | 1) << SLOT_BITS) | (slot & (MAX_SLOTS - 1))
}

function slotOf(owner: number): number {
  return owner & (MAX_SLOTS - 1)
}

function bucketOf(low: number, slot: number): number {
  return ((low ^ Math.imul(slot + 1, 0x9e3779b1)) & (BUCKETS - 1)) * WAYS * ENTRY
}

export const mmEmbeddingsCacheProducer: ProducerType = {
  type: 'mm-embeddings-cache-producer',
  role: 'producer',
  parameters,
  needs: () => ['media'],
  produce: (_name, given) => new MediaCache(parameters.parse(given).cacheSizeInMBPerServer),
}

/** Share of the request's images, videos and audios that the endpoint presumably has encoded (epp.md §3.3). */
export const mmEmbeddingsCacheScorer = scorerType(
  'mm-embeddings-cache-scorer',
  object({ encoderCacheMatchInfoProducerName: z.string().optional() }),
  () => ({
    type: 'mm-embeddings-cache-scorer',
    score({ count, media }, _table, out) {
      for (let i = 0; i < count; i++) out[i] = media[i]!
    },
  }),
  () => ['media'],
)
