/** The fields of events (./event-batch.ts), read into records that are used again and again. Long ones take several steps. */
import { type HashList, RemovedBlocks, StoredBlocks } from './block-events.ts'
import { hashText } from './hash-text.ts'
import { MsgpackError, MsgpackKind, type MsgpackReader } from './msgpack-reader.ts'
import { STEP_VALUES, type StepMeter, VALUES_PER_BLOCK } from './step-meter.ts'

const MAX_TOKEN = 2 ** 32 - 1
const MAX_BLOCK_SIZE = 1 << 20
const MAX_GROUP = 4095
/** Of a batch: a prompt of a million tokens in blocks of 16. */
const MAX_HASHES = 1 << 16
const MAX_TOKENS = 1 << 21
export const STORED_FIELDS = [
  'block_hashes',
  'parent_block_hash',
  'token_ids',
  'block_size',
  'lora_id',
  'medium',
  'lora_name',
  'extra_keys',
  'group_idx',
  'kv_cache_spec_kind',
]
export const REMOVED_FIELDS = ['block_hashes', 'medium', 'group_idx']

export class EventFields {
  readonly stored = new StoredBlocks()
  readonly removed = new RemovedBlocks()
  readonly #reader: MsgpackReader
  readonly #meter: StepMeter
  /** That the batch may still have. */
  #hashesLeft = 0

  constructor(reader: MsgpackReader, meter: StepMeter) {
    this.#reader = reader
    this.#meter = meter
  }

  /** A batch begins. */
  begin(): void {
    this.#hashesLeft = MAX_HASHES
  }

  clear(): void {
    this.stored.clear()
    this.removed.clear()
  }

  /** Reads the field of that number in `STORED_FIELDS`. @throws MsgpackError */
  *storedField(field: number): Generator<undefined, void> {
    const reader = this.#reader
    const event = this.stored
    if (field === 0) yield* this.#hashes(event.hashes)
    else if (field === 2) yield* this.#tokens(event)
    // All others may be nil.
    else if (reader.nil()) return
    else if (field === 1) {
      reader.hash()
      event.hasParent = true
      event.parentLow = reader.low
      event.parentHigh = reader.high
    } else if (field === 3) event.blockSize = bounded(reader.integer(), MAX_BLOCK_SIZE)
    else if (field === 4) reader.integer()
    else if (field === 5) event.medium = reader.text().toLowerCase()
    else if (field === 6) event.loraName = reader.text()
    else if (field === 7) yield* this.#extraKeys(event)
    else if (field === 8) event.group = bounded(reader.integer(), MAX_GROUP)
    else event.specKind = reader.text()
  }

  /** … in `REMOVED_FIELDS`. @throws MsgpackError */
  *removedField(field: number): Generator<undefined, void> {
    const reader = this.#reader
    if (field === 0) yield* this.#hashes(this.removed.hashes)
    else if (reader.nil()) return
    else if (field === 1) this.removed.medium = reader.text().toLowerCase()
    else this.removed.group = bounded(reader.integer(), MAX_GROUP)
  }

  *#hashes(list: HashList): Generator<undefined, void> {
    const reader = this.#reader
    const count = bounded(reader.array(), MAX_HASHES)
    if (count > this.#hashesLeft) throw new MsgpackError('too many blocks in a batch')
    this.#hashesLeft -= count
    list.reserve(count)
    for (let i = 0; i < count; ) {
      const end = Math.min(count, i + STEP_VALUES)
      const from = i
      for (; i < end; i++) {
        reader.hash()
        list.low[i] = reader.low
        list.high[i] = reader.high
      }
      if (this.#meter.isEnough((i - from) / VALUES_PER_BLOCK)) yield
    }
    list.count = count
    list.from = list.to = 0
  }

  *#tokens(event: StoredBlocks): Generator<undefined, void> {
    const reader = this.#reader
    if (reader.nil()) return
    const count = bounded(reader.array(), MAX_TOKENS)
    if (event.tokens.length < count) event.tokens = new Uint32Array(Math.min(2 * count, MAX_TOKENS))
    for (let i = 0; i < count; ) {
      const end = Math.min(count, i + STEP_VALUES)
      const from = i
      for (; i < end; i++) event.tokens[i] = bounded(reader.integer(), MAX_TOKEN)
      if (this.#meter.isEnough((i - from) / VALUES_PER_BLOCK)) yield
    }
    event.tokenCount = count
  }

  /** For each block a list, or nil. A name of the adapter in it says nothing new. */
  *#extraKeys(event: StoredBlocks): Generator<undefined, void> {
    const reader = this.#reader
    for (let left = bounded(reader.array(), MAX_HASHES); left > 0; left--) {
      let hash = 0
      if (!reader.nil())
        for (let keys = reader.array(); keys > 0; keys--) {
          const from = reader.at
          if (reader.kind() === MsgpackKind.TEXT) {
            const text = reader.text()
            if (text !== event.loraName) hash = hashText(text, hash)
          } else {
            reader.skip()
            hash = hashText(reader.raw(from), hash)
          }
          if (this.#meter.isEnough((1 + (reader.at - from) / 8) / VALUES_PER_BLOCK)) yield
        }
      event.extras.push(hash)
      if (this.#meter.isEnough(1 / VALUES_PER_BLOCK)) yield
    }
  }
}
function bounded(value: number, max: number): number {
  if (value < 0 || value > max) throw new MsgpackError(`${value} is out of range`)
  return value
}
