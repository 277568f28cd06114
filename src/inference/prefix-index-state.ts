/**
 * Shared memory of a prefix index (./prefix-index.ts): a header, then buckets. A bucket begins on a cache line and has, for its
 * eight ways, the low key words (one half of that line), the high ones (the other half), the depths, and then for each way the
 * words of the two sets of slots, `recent` and `older`. So a lookup reads the first line and the sets of one way.
 */

/** Ways a bucket. */
export const WAYS = 8
/** Offsets in a bucket, in 32-bit words. */
export const HIGH = 1 * WAYS
export const DEPTH = 2 * WAYS
export const SETS = 3 * WAYS

const LINE_WORDS = 16
const MAX_BYTES = 128 * 1024 * 1024
/** Ways per block that must be remembered: what is aged out is still there until the sweep comes by. */
const SPARE = 1.25

export interface PrefixIndexSize {
  /** Endpoint slots; rounded up to a multiple of 32. */
  readonly slots: number
  /** Endpoints that the memory is sized for. */
  readonly endpoints: number
  readonly blocksPerEndpoint: number
}

export interface PrefixIndexState {
  /** A multiple of 32. */
  readonly slots: number
  /** A power of two. */
  readonly buckets: number
  readonly blocksPerEndpoint: number
  /** 32-bit words a bucket. */
  readonly stride: number
  readonly memory: SharedArrayBuffer
}

/** The header's parts, as ranges of 32-bit words; buckets follow at `buckets`. */
export interface PrefixIndexLayout {
  /** One word: the bucket where the sweep is, −1 = no sweep under way, −2 = one is being started. */
  readonly hand: number
  /** One word: blocks that the table has room for, of each endpoint. Above them nothing would age before the table is full. */
  readonly room: number
  /** The set of slots that the sweep ages. */
  readonly aging: number
  /** A word per slot: blocks that were new to it since it aged last. */
  readonly fresh: number
  /** A word per slot: the most blocks that its endpoint can hold, 0 = not known. More than `room` count as that. */
  readonly capacities: number
  readonly buckets: number
}

export function prefixIndexLayout(slots: number): PrefixIndexLayout {
  const aging = LINE_WORDS
  const fresh = aging + (slots >> 5)
  const capacities = fresh + slots
  return { hand: 0, room: 1, aging, fresh, capacities, buckets: roundUp(capacities + slots, LINE_WORDS) }
}

/** What a state of this size has. */
export function prefixIndexShape(size: PrefixIndexSize): Omit<PrefixIndexState, 'memory'> {
  const slots = roundUp(Math.max(32, size.slots), 32)
  const stride = roundUp(SETS + WAYS * 2 * (slots >> 5), LINE_WORDS)
  const wanted = (size.endpoints * size.blocksPerEndpoint * SPARE) / WAYS
  let buckets = 16
  while (buckets < wanted && buckets * 2 * stride * 4 <= MAX_BYTES) buckets *= 2
  return { slots, buckets, blocksPerEndpoint: size.blocksPerEndpoint, stride }
}

/** Blocks that an endpoint remembers at most in a table of so many buckets. */
export function roomIn(buckets: number, { endpoints, blocksPerEndpoint }: PrefixIndexSize): number {
  const share = Math.floor((buckets * WAYS) / (SPARE * Math.max(1, endpoints)))
  return Math.max(1, Math.min(blocksPerEndpoint, share))
}

export function createPrefixIndexState(size: PrefixIndexSize): PrefixIndexState {
  const shape = prefixIndexShape(size)
  const layout = prefixIndexLayout(shape.slots)
  const words = layout.buckets + shape.buckets * shape.stride
  const memory = new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT)
  const header = new Int32Array(memory, 0, layout.aging)
  header[layout.hand] = -1
  header[layout.room] = roomIn(shape.buckets, size)
  return { ...shape, memory }
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to
}
