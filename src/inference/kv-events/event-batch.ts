/**
 * The messages in which vLLM and SGLang tell what their KV caches hold (epp.md §3.8): three frames, of which the last is
 * `[timestamp, events, data_parallel_rank]` in MessagePack. An event is an array `[tag, field …]`, or a map with its fields' names and
 * `type`. Fields that are missing at the end have their defaults; more of them, and unknown tags, are left out.
 */
import { Buffer } from 'node:buffer'
import type { HashList, RemovedBlocks, StoredBlocks } from './block-events.ts'
import { EventFields, REMOVED_FIELDS, STORED_FIELDS } from './event-fields.ts'
import { MsgpackError, MsgpackKind, MsgpackReader } from './msgpack-reader.ts'
import { STEP_BLOCKS, StepMeter } from './step-meter.ts'

export interface KvEventSink {
  stored(event: StoredBlocks): void
  removed(event: RemovedBlocks): void
  cleared(): void
  /** Does a part of what `cleared` left to do, now or before this batch; nothing else is told before. Returns what that cost, in blocks; 0: nothing was left. */
  sweep(): number
  /** An event that is of no known kind, or bad; the others of its batch count all the same. */
  skipped(reason: string): void
}

const NO_BYTES = Buffer.alloc(0)
const MAX_NESTING = 8
/** Of any event, in blocks. */
const EVENT_COST = 1 / 8
/** Bytes that are passed over as fast as a block is told. */
const BYTES_PER_BLOCK = 2048

/** One batch at a time, step by step. */
export class EventBatchParser {
  readonly #reader = new MsgpackReader()
  readonly #meter = new StepMeter()
  readonly #fields = new EventFields(this.#reader, this.#meter)
  #sink!: KvEventSink
  #steps: Generator<undefined, void> | undefined

  /** The next `step`s give this batch's events to `sink` in order. Keeps `payload`. Not before the last batch was read, or given up. */
  begin(payload: Buffer, sink: KvEventSink): void {
    this.#sink = sink
    this.#reader.begin(payload)
    this.#fields.begin()
    this.#steps = this.#read()
  }

  /** Returns whether there is more to read. @throws MsgpackError for bytes that are no batch, which ends it; events before the fault were given */
  step(): boolean {
    this.#meter.spent = 0
    return this.#steps?.next().done === false
  }

  /** Blocks that the last step told of, and what as many others would have cost. */
  get spent(): number {
    return this.#meter.spent
  }

  /** Nothing more of this batch is given. */
  giveUp(): void {
    this.#steps?.return()
    // One that has not begun has no end of its own.
    this.#clear()
  }

  #clear(): void {
    this.#steps = undefined
    this.#fields.clear()
    this.#reader.begin(NO_BYTES)
  }

  *#read(): Generator<undefined, void> {
    try {
      yield* this.#sweep()
      yield* this.#batch(0)
      if (!this.#reader.atEnd) throw new MsgpackError('bytes after the batch')
    } finally {
      this.#clear()
    }
  }

  *#batch(depth: number): Generator<undefined, void> {
    const reader = this.#reader
    if (reader.kind() === MsgpackKind.MAP) {
      for (let left = reader.map(); left > 0; left--) {
        if (reader.text() === 'events') yield* this.#events(0)
        else reader.skip()
      }
      return
    }
    let left = reader.array()
    const nested = left > 0 && (reader.kind() === MsgpackKind.ARRAY || reader.kind() === MsgpackKind.MAP)
    if (nested) {
      if (depth >= MAX_NESTING) throw new MsgpackError('batches in batches')
      for (; left > 0; left--) yield* this.#batch(depth + 1)
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
    yield* this.#events(0)
    for (left -= 2; left > 0; left--) reader.skip()
  }

  *#events(depth: number): Generator<undefined, void> {
    if (depth > MAX_NESTING) throw new MsgpackError('events in events')
    for (let left = this.#reader.array(); left > 0; left--) yield* this.#event(depth)
  }

  *#event(depth: number): Generator<undefined, void> {
    const reader = this.#reader
    const start = reader.at
    const kind = reader.kind()
    if (kind === MsgpackKind.ARRAY && this.#isList()) {
      yield* this.#events(depth + 1)
      return
    }
    if (this.#meter.isEnough(EVENT_COST)) yield
    try {
      if (kind === MsgpackKind.ARRAY) yield* this.#arrayEvent()
      else if (kind === MsgpackKind.MAP) yield* this.#mapEvent()
      else throw new MsgpackError('an event that is neither array nor map')
    } catch (error) {
      if (!(error instanceof MsgpackError)) throw error
      // A bad one costs no other, if its end can be found.
      reader.goTo(start)
      reader.skip()
      this.#sink.skipped(error.message)
      if (this.#meter.isEnough((reader.at - start) / BYTES_PER_BLOCK)) yield
    }
  }

  /** Whether the array that is next holds events instead of being one. */
  #isList(): boolean {
    const reader = this.#reader
    const start = reader.at
    const list = reader.array() > 0 && (reader.kind() === MsgpackKind.ARRAY || reader.kind() === MsgpackKind.MAP)
    reader.goTo(start)
    return list
  }

  *#arrayEvent(): Generator<undefined, void> {
    const reader = this.#reader
    let left = reader.array()
    if (left === 0) throw new MsgpackError('an event without a tag')
    const tag = reader.text()
    left--
    if (tag === 'BlockStored') {
      this.#fields.stored.clear()
      if (left < 4) throw new MsgpackError('BlockStored lacks fields')
      for (let i = 0; i < left && i < STORED_FIELDS.length; i++) yield* this.#fields.storedField(i)
      this.#skip(left - STORED_FIELDS.length)
      yield* this.#tellStored()
    } else if (tag === 'BlockRemoved') {
      this.#fields.removed.clear()
      if (left < 1) throw new MsgpackError('BlockRemoved lacks fields')
      for (let i = 0; i < left && i < REMOVED_FIELDS.length; i++) yield* this.#fields.removedField(i)
      this.#skip(left - REMOVED_FIELDS.length)
      yield* this.#tellRemoved()
    } else {
      this.#skip(left)
      yield* this.#other(tag)
    }
  }

  #skip(values: number): void {
    for (let left = values; left > 0; left--) this.#reader.skip()
  }

  *#mapEvent(): Generator<undefined, void> {
    const reader = this.#reader
    const start = reader.at
    const tag = this.#typeOf()
    const fields = tag === 'BlockStored' ? STORED_FIELDS : tag === 'BlockRemoved' ? REMOVED_FIELDS : undefined
    reader.goTo(start)
    if (fields === undefined) {
      reader.skip()
      yield* this.#other(tag)
      return
    }
    const stored = fields === STORED_FIELDS
    this.#fields.stored.clear()
    this.#fields.removed.clear()
    let hashes = false
    for (let left = reader.map(); left > 0; left--) {
      const name = reader.text()
      const field = fields.indexOf(name)
      hashes ||= field === 0
      if (field < 0) reader.skip()
      else if (stored) yield* this.#fields.storedField(field)
      else yield* this.#fields.removedField(field)
    }
    if (!hashes) throw new MsgpackError(`${tag} lacks fields`)
    if (stored) yield* this.#tellStored()
    else yield* this.#tellRemoved()
  }

  #typeOf(): string {
    const reader = this.#reader
    for (let left = reader.map(); left > 0; left--) {
      if (reader.text() === 'type') return reader.text()
      reader.skip()
    }
    throw new MsgpackError('an event without a type')
  }

  *#other(tag: string): Generator<undefined, void> {
    if (tag === 'AllBlocksCleared') {
      this.#sink.cleared()
      yield* this.#sweep()
    } else this.#sink.skipped('unknown tag')
  }

  *#sweep(): Generator<undefined, void> {
    for (let cost = this.#sink.sweep(); cost > 0; cost = this.#sink.sweep()) if (this.#meter.isEnough(cost)) yield
  }

  *#tellStored(): Generator<undefined, void> {
    const event = this.#fields.stored
    const { hashes, tokenCount, blockSize, extras } = event
    if (extras.length > hashes.count) throw new MsgpackError('BlockStored: more extra keys than blocks')
    if (tokenCount > 0 && (blockSize === 0 || tokenCount !== hashes.count * blockSize))
      throw new MsgpackError('BlockStored: the number of tokens is not that of its blocks')
    do {
      this.#nextPart(hashes)
      this.#sink.stored(event)
      if (this.#meter.isEnough(hashes.to - hashes.from)) yield
      event.hasParent ||= hashes.to > 0
      event.parentLow = hashes.low[hashes.to - 1] ?? 0
      event.parentHigh = hashes.high[hashes.to - 1] ?? 0
    } while (hashes.to < hashes.count)
  }

  *#tellRemoved(): Generator<undefined, void> {
    const { hashes } = this.#fields.removed
    do {
      this.#nextPart(hashes)
      this.#sink.removed(this.#fields.removed)
      if (this.#meter.isEnough(hashes.to - hashes.from)) yield
    } while (hashes.to < hashes.count)
  }

  /** As many as this step may still tell of. */
  #nextPart(hashes: HashList): void {
    hashes.from = hashes.to
    hashes.to = Math.min(hashes.count, hashes.from + Math.max(1, STEP_BLOCKS - Math.floor(this.#meter.spent)))
  }
}
