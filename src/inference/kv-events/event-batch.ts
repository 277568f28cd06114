/**
 * The messages in which vLLM and SGLang tell what their KV caches hold (epp.md §3.8): three frames, of which the last is
 * `[timestamp, events, data_parallel_rank]` in MessagePack. An event is an array `[tag, field …]`, or a map with its fields' names and
 * `type`. Fields that are missing at the end have their defaults; more of them, and unknown tags, are left out.
 */
import { Buffer } from 'node:buffer'
import { type HashList, RemovedBlocks, StoredBlocks } from './block-events.ts'
import { hashText } from './hash-text.ts'
import { MsgpackError, MsgpackKind, MsgpackReader } from './msgpack-reader.ts'

export interface KvEventSink {
  stored(event: StoredBlocks): void
  removed(event: RemovedBlocks): void
  cleared(): void
  /** An event that is of no known kind, or bad; the others of its batch count all the same. */
  skipped(reason: string): void
}

const NO_BYTES = Buffer.alloc(0)
const MAX_NESTING = 8
const MAX_TOKEN = 2 ** 32 - 1
const MAX_BLOCK_SIZE = 1 << 20
const MAX_GROUP = 4095
/** Of a batch, so that none takes long: a prompt of a million tokens in blocks of 16. */
const MAX_HASHES = 1 << 16
const MAX_TOKENS = 1 << 21

const STORED_FIELDS = [
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
const REMOVED_FIELDS = ['block_hashes', 'medium', 'group_idx']

export class EventBatchParser {
  readonly #reader = new MsgpackReader()
  readonly #stored = new StoredBlocks()
  readonly #removed = new RemovedBlocks()
  #sink!: KvEventSink
  /** That the batch may still have. */
  #hashesLeft = 0

  /** Gives the batch's events to `sink` in order. @throws MsgpackError for bytes that are no batch; events before the fault were given */
  parse(payload: Buffer, sink: KvEventSink): void {
    this.#sink = sink
    this.#reader.begin(payload)
    this.#hashesLeft = MAX_HASHES
    try {
      this.#batch(0)
      if (!this.#reader.atEnd) throw new MsgpackError('bytes after the batch')
    } finally {
      this.#stored.clear()
      this.#removed.clear()
      this.#reader.begin(NO_BYTES)
    }
  }

  #batch(depth: number): void {
    const reader = this.#reader
    if (reader.kind() === MsgpackKind.MAP) {
      for (let left = reader.map(); left > 0; left--) {
        if (reader.text() === 'events') this.#events(0)
        else reader.skip()
      }
      return
    }
    let left = reader.array()
    const nested = left > 0 && (reader.kind() === MsgpackKind.ARRAY || reader.kind() === MsgpackKind.MAP)
    if (nested) {
      if (depth >= MAX_NESTING) throw new MsgpackError('batches in batches')
      for (; left > 0; left--) this.#batch(depth + 1)
      return
    }
    // A tag may stand first.
    if (left > 0 && reader.kind() === MsgpackKind.TEXT) {
      reader.skip()
      left--
    }
    if (left < 2) throw new MsgpackError('a batch without events')
    // The time.
    reader.skip()
    this.#events(0)
    for (left -= 2; left > 0; left--) reader.skip()
  }

  #events(depth: number): void {
    if (depth > MAX_NESTING) throw new MsgpackError('events in events')
    for (let left = this.#reader.array(); left > 0; left--) this.#event(depth)
  }

  #event(depth: number): void {
    const reader = this.#reader
    const start = reader.at
    const kind = reader.kind()
    if (kind === MsgpackKind.ARRAY && this.#isList()) return this.#events(depth + 1)
    // Where the event ends is known first, so that a bad one costs no other.
    reader.skip()
    const end = reader.at
    reader.goTo(start)
    try {
      if (kind === MsgpackKind.ARRAY) this.#arrayEvent()
      else if (kind === MsgpackKind.MAP) this.#mapEvent()
      else throw new MsgpackError('an event that is neither array nor map')
    } catch (error) {
      if (!(error instanceof MsgpackError)) throw error
      this.#sink.skipped(error.message)
    }
    reader.goTo(end)
  }

  /** Whether the array that is next holds events instead of being one. */
  #isList(): boolean {
    const reader = this.#reader
    const start = reader.at
    const list = reader.array() > 0 && (reader.kind() === MsgpackKind.ARRAY || reader.kind() === MsgpackKind.MAP)
    reader.goTo(start)
    return list
  }

  #arrayEvent(): void {
    const reader = this.#reader
    let left = reader.array()
    if (left === 0) throw new MsgpackError('an event without a tag')
    const tag = reader.text()
    left--
    if (tag === 'BlockStored') {
      this.#stored.clear()
      if (left < 4) throw new MsgpackError('BlockStored lacks fields')
      for (let i = 0; i < left && i < STORED_FIELDS.length; i++) this.#storedField(i)
      this.#tellStored()
    } else if (tag === 'BlockRemoved') {
      this.#removed.clear()
      if (left < 1) throw new MsgpackError('BlockRemoved lacks fields')
      for (let i = 0; i < left && i < REMOVED_FIELDS.length; i++) this.#removedField(i)
      this.#sink.removed(this.#removed)
    } else this.#other(tag)
  }

  #mapEvent(): void {
    const reader = this.#reader
    const start = reader.at
    const tag = this.#typeOf()
    const fields = tag === 'BlockStored' ? STORED_FIELDS : tag === 'BlockRemoved' ? REMOVED_FIELDS : undefined
    if (fields === undefined) return this.#other(tag)
    const stored = fields === STORED_FIELDS
    reader.goTo(start)
    this.#stored.clear()
    this.#removed.clear()
    let hashes = false
    for (let left = reader.map(); left > 0; left--) {
      const name = reader.text()
      const field = fields.indexOf(name)
      hashes ||= field === 0
      if (field < 0) reader.skip()
      else if (stored) this.#storedField(field)
      else this.#removedField(field)
    }
    if (!hashes) throw new MsgpackError(`${tag} lacks fields`)
    if (stored) this.#tellStored()
    else this.#sink.removed(this.#removed)
  }

  #typeOf(): string {
    const reader = this.#reader
    for (let left = reader.map(); left > 0; left--) {
      if (reader.text() === 'type') return reader.text()
      reader.skip()
    }
    throw new MsgpackError('an event without a type')
  }

  #other(tag: string): void {
    if (tag === 'AllBlocksCleared') this.#sink.cleared()
    else this.#sink.skipped('unknown tag')
  }

  #tellStored(): void {
    const { hashes, tokenCount, blockSize, extras } = this.#stored
    if (extras.length > hashes.count) throw new MsgpackError('BlockStored: more extra keys than blocks')
    if (tokenCount > 0 && (blockSize === 0 || tokenCount !== hashes.count * blockSize))
      throw new MsgpackError('BlockStored: the number of tokens is not that of its blocks')
    this.#sink.stored(this.#stored)
  }

  #storedField(field: number): void {
    const reader = this.#reader
    const event = this.#stored
    if (field === 0) this.#hashes(event.hashes)
    else if (field === 2) this.#tokens(event)
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
    else if (field === 7) this.#extraKeys(event)
    else if (field === 8) event.group = bounded(reader.integer(), MAX_GROUP)
    else event.specKind = reader.text()
  }

  #removedField(field: number): void {
    const reader = this.#reader
    if (field === 0) this.#hashes(this.#removed.hashes)
    else if (reader.nil()) return
    else if (field === 1) this.#removed.medium = reader.text().toLowerCase()
    else this.#removed.group = bounded(reader.integer(), MAX_GROUP)
  }

  #hashes(list: HashList): void {
    const reader = this.#reader
    const count = bounded(reader.array(), MAX_HASHES)
    if (count > this.#hashesLeft) throw new MsgpackError('too many blocks in a batch')
    this.#hashesLeft -= count
    list.reserve(count)
    for (let i = 0; i < count; i++) {
      reader.hash()
      list.low[i] = reader.low
      list.high[i] = reader.high
    }
    list.count = count
  }

  #tokens(event: StoredBlocks): void {
    const reader = this.#reader
    if (reader.nil()) return
    const count = bounded(reader.array(), MAX_TOKENS)
    if (event.tokens.length < count) event.tokens = new Uint32Array(Math.min(2 * count, MAX_TOKENS))
    for (let i = 0; i < count; i++) event.tokens[i] = bounded(reader.integer(), MAX_TOKEN)
    event.tokenCount = count
  }

  /** For each block a list, or nil. A name of the adapter in it says nothing new. */
  #extraKeys(event: StoredBlocks): void {
    const reader = this.#reader
    for (let left = bounded(reader.array(), MAX_HASHES); left > 0; left--) {
      let hash = 0
      if (!reader.nil())
        for (let keys = reader.array(); keys > 0; keys--) {
          if (reader.kind() === MsgpackKind.TEXT) {
            const text = reader.text()
            if (text !== event.loraName) hash = hashText(text, hash)
          } else {
            const from = reader.at
            reader.skip()
            hash = hashText(reader.raw(from), hash)
          }
        }
      event.extras.push(hash)
    }
  }
}

function bounded(value: number, max: number): number {
  if (value < 0 || value > max) throw new MsgpackError(`${value} is out of range`)
  return value
}
