/**
 * Reads the handful of series that picking needs straight from the bytes of a Prometheus text page as they come, without keeping the
 * page or parsing the rest of it: each family is searched as `\nname`, in the order of the page before, and once all of them were seen the
 * rest is passed over. Families that a page may do without are looked for in every 16th page only, once one had not got them.
 *
 * Budget: below 10 µs for vLLM's page of 403 lines (measured 4–6 µs;
 * `test/bench/scrape.bench.ts` prints it), against 1.2 ms for a full parse.
 *
 * Several series of one family that match: a server with data-parallel ranks shows one series per rank, and a request may go to any
 * of them, so that counts are summed and the cache's usage is the mean. (The Go peers take one rank for the whole.) Where series have
 * timestamps, those with the newest count. Of LoRA reports the one with the newest *value* counts, which is its time.
 *
 * A series whose value is no number that makes sense (NaN, infinite, negative) counts as absent, and is told of.
 */
import { adapterIdOfBytes } from './adapter-id.ts'
import { type EnginePage, type Want, WantKind } from './engine-page.ts'
import { createReplicaMetrics, type ReplicaMetrics, Signal } from './replica-metrics.ts'
import { findLabel, label, labelIs, readSeries, series } from './series.ts'

/** A longer line is passed over. */
const LONGEST_LINE = 64 * 1024
const LARGEST_COUNT = 0x3fffffff
const NEWLINE = 0x0a
const SPACE = 0x20
const COMMA = 0x2c
const QUANTILE = Buffer.from('quantile')

/** An optional family that was absent is not looked for in so many pages. */
const ABSENT_PAGES = 15

/** What is known of a family on the page at hand. */
const SOUGHT = 0
/** The last bytes ended with a series of it. */
const OPEN = 1
const ENDED = 2

/** One replica's reader: `begin`, `take` for the bytes as they come, `finish`. */
export class MetricsParser {
  readonly page: EnginePage
  /** Of the page at hand; complete once `finish` has returned it, and valid until the next `begin`. */
  readonly metrics: ReplicaMetrics = createReplicaMetrics()
  readonly #state: Uint8Array
  readonly #sum: Float64Array
  readonly #count: Int32Array
  readonly #newest: Float64Array
  /** Families in the order of the last page. */
  readonly #order: Uint8Array
  /** Where each family began in the last page that had it; those that none had come last. */
  readonly #places: Float64Array
  /** Pages in which an optional family is not looked for yet. */
  readonly #skip: Uint8Array
  #outOfOrder = false
  /** Bytes of the page before those that are read now. */
  #before = 0
  #ended = 0
  #found = false
  #loraAt = -1
  /** The begin of a line whose end has not come. */
  #line = Buffer.alloc(0)
  #held = 0
  #overlong = false

  constructor(page: EnginePage) {
    this.page = page
    this.#state = new Uint8Array(page.families.length)
    this.#order = Uint8Array.from(page.families, (_, f) => f)
    this.#places = new Float64Array(page.families.length).fill(Number.MAX_SAFE_INTEGER)
    this.#skip = new Uint8Array(page.families.length)
    this.#sum = new Float64Array(page.wants)
    this.#count = new Int32Array(page.wants)
    this.#newest = new Float64Array(page.wants)
  }

  /** A new page. */
  begin(): void {
    this.#state.fill(SOUGHT)
    this.#sum.fill(0)
    this.#count.fill(0)
    this.#newest.fill(Number.NEGATIVE_INFINITY)
    this.#ended = this.#held = this.#before = 0
    this.#outOfOrder = false
    for (let f = 0; f < this.#skip.length; f++) {
      if (this.#skip[f] === 0) continue
      this.#skip[f]!--
      this.#end(f)
    }
    this.#found = this.#overlong = false
    this.#loraAt = -1
    const metrics = this.metrics
    metrics.waiting = metrics.running = metrics.kvUsage = metrics.blockSize = metrics.blockCount = 0
    metrics.maxLora = metrics.runningAdapters = metrics.waitingAdapters = 0
    metrics.missing = metrics.invalid = 0
    metrics.attributes.fill(Number.NaN)
  }

  /** Bytes of the page; may end anywhere. */
  take(bytes: Buffer, start: number, end: number): void {
    if (this.#ended === this.page.families.length) return
    const part = bytes.subarray(start, end)
    let at = 0
    if (this.#held > 0 || this.#overlong) {
      const newline = part.indexOf(NEWLINE)
      this.#hold(part, 0, newline < 0 ? part.length : newline)
      if (newline < 0) return
      this.#readHeld()
      at = newline + 1
    }
    const last = part.lastIndexOf(NEWLINE)
    if (last >= at) {
      this.#readLines(part.subarray(at, last))
      at = last + 1
    }
    this.#hold(part, at, part.length)
  }

  /**
   * The page is complete. Undefined when it has none of what the engine's pages have: then the scrape was not a good one.
   */
  finish(): ReplicaMetrics | undefined {
    this.#readHeld()
    this.#learn()
    if (!this.#found && this.page.families.length > 0) return undefined
    const { page } = this
    const metrics = this.metrics
    let valid = 0
    const has = (want: Want | undefined) => {
      if (want === undefined || this.#count[want.id] === 0) return false
      valid |= want.signal
      return true
    }
    if (has(page.waiting)) metrics.waiting = toCount(this.#sum[page.waiting!.id]!)
    if (has(page.running)) metrics.running = toCount(this.#sum[page.running!.id]!)
    if (has(page.kvUsage)) metrics.kvUsage = this.#usage(page.kvUsage!)
    else if (has(page.oldKvUsage)) metrics.kvUsage = this.#usage(page.oldKvUsage!)
    if (has(page.blockSize))
      metrics.blockSize = toCount(this.#sum[page.blockSize!.id]! / this.#count[page.blockSize!.id]!)
    if (has(page.blockCount)) metrics.blockCount = toCount(this.#sum[page.blockCount!.id]!)
    if (metrics.blockSize > 0) valid |= Signal.BLOCK_SIZE
    if (metrics.blockCount > 0) valid |= Signal.BLOCK_COUNT
    for (const { field } of page.totals) metrics[field] = 0
    for (const { want, field } of page.totals) metrics[field] += this.#sum[want.id]!
    let attributes = 0
    for (const { want, index, scale } of page.attributes) {
      if (!has(want)) continue
      attributes++
      metrics.attributes[index] = this.#sum[want.id]! * scale
    }
    if (attributes < page.attributes.length) valid &= ~Signal.ATTRIBUTE
    metrics.missing = page.required & ~valid
    return metrics
  }

  #usage(want: Want): number {
    const usage = this.#sum[want.id]! / this.#count[want.id]!
    if (usage > 1) this.metrics.invalid |= want.signal
    return Math.min(1, usage)
  }

  #hold(bytes: Buffer, start: number, end: number): void {
    const length = this.#held + end - start
    if (length === this.#held || this.#overlong) return
    if (length > LONGEST_LINE) {
      this.#overlong = true
      this.#held = 0
      return
    }
    if (length > this.#line.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(LONGEST_LINE, Math.max(256, 2 * length)))
      this.#line.copy(larger, 0, 0, this.#held)
      this.#line = larger
    }
    bytes.copy(this.#line, this.#held, start, end)
    this.#held = length
  }

  #readHeld(): void {
    if (this.#held > 0) this.#readLines(this.#line.subarray(0, this.#held))
    this.#held = 0
    this.#overlong = false
  }

  /** Whole lines, without the newline of the last one. */
  #readLines(lines: Buffer): void {
    let from = 0
    for (let o = 0; o < this.#order.length; o++) {
      const f = this.#order[o]!
      if (this.#state[f] === ENDED) continue
      const end = this.#readFamily(lines, f, from)
      if (end >= from) from = end
      else if (end >= 0) this.#outOfOrder = true
    }
    this.#before += lines.length + 1
  }

  /** Reads the family's series, looking for them from `from` on at first. Returns where they end, −1: there are none. */
  #readFamily(lines: Buffer, f: number, from: number): number {
    const { name, needle, wants, instead } = this.page.families[f]!
    let at = readSeries(lines, name, 0) ? 0 : -1
    if (at < 0 && this.#state[f] === SOUGHT) {
      at = find(lines, needle, name, from)
      if (at < 0 && from > 0) at = find(lines.subarray(0, from), needle, name, 0)
      if (at < 0) return -1
    }
    if (at >= 0) this.#places[f] = this.#before + at
    let end = -1
    // Series of one family stand together, so that its end costs no search.
    for (let found = at >= 0; found; found = readSeries(lines, name, end + 1)) {
      end = series.end
      for (let w = 0; w < wants.length; w++) this.#take(lines, wants[w]!)
      this.#state[f] = OPEN
      if (end >= lines.length) return end
    }
    this.#end(f)
    if (instead !== undefined && this.#state[instead] !== ENDED) this.#end(instead)
    return end
  }

  #end(f: number): void {
    this.#state[f] = ENDED
    this.#ended++
  }

  /** What the next page will probably be like. */
  #learn(): void {
    const { families } = this.page
    for (let f = 0; f < families.length; f++)
      if (this.#state[f] === SOUGHT && !families[f]!.required) this.#skip[f] = ABSENT_PAGES
    if (this.#outOfOrder) this.#order.sort((a, b) => this.#places[a]! - this.#places[b]!)
  }

  /** The series read last, for one who may want it. */
  #take(lines: Buffer, want: Want): void {
    const { labels } = want
    for (let l = 0; l < labels.length; l++) {
      if (!findLabel(lines, labels[l]!.name) || !labelIs(lines, labels[l]!.value)) return
    }
    this.#found = true
    if (want.kind === WantKind.LORA) this.#takeLora(lines)
    else if (want.kind === WantKind.CACHE_INFO) this.#takeCacheInfo(lines)
    else if (labels.length > 0 || !findLabel(lines, QUANTILE)) this.#takeScalar(want)
  }

  #takeScalar(want: Want): void {
    const { id } = want
    const { value, timestamp } = series
    if (!Number.isFinite(value) || (value < 0 && !want.signed)) {
      this.metrics.invalid |= want.signal
      return
    }
    const newest = this.#newest[id]!
    if (timestamp < newest) return
    if (timestamp > newest) {
      this.#newest[id] = timestamp
      this.#sum[id] = value
      this.#count[id] = 1
      return
    }
    this.#sum[id] = want.max ? Math.max(this.#sum[id]!, value) : this.#sum[id]! + value
    this.#count[id]!++
  }

  #takeCacheInfo(lines: Buffer): void {
    const { blockSizeLabel, blockCountLabel } = this.page
    const metrics = this.metrics
    if (blockSizeLabel !== undefined && metrics.blockSize === 0)
      metrics.blockSize = this.#integerLabel(lines, blockSizeLabel, Signal.BLOCK_SIZE)
    if (blockCountLabel !== undefined) {
      const count = this.#integerLabel(lines, blockCountLabel, Signal.BLOCK_COUNT)
      metrics.blockCount = Math.min(metrics.blockCount + count, LARGEST_COUNT)
    }
  }

  #takeLora(lines: Buffer): void {
    if (!(series.value > this.#loraAt) || series.value === Number.POSITIVE_INFINITY) return
    this.#loraAt = series.value
    const metrics = this.metrics
    metrics.maxLora = this.#integerLabel(lines, MAX_LORA, Signal.LORA)
    metrics.runningAdapters = readNames(lines, RUNNING_ADAPTERS, metrics.adapters, 0)
    metrics.waitingAdapters = readNames(lines, WAITING_ADAPTERS, metrics.adapters, metrics.runningAdapters)
  }

  #integerLabel(lines: Buffer, name: Buffer, signal: number): number {
    if (!findLabel(lines, name)) return 0
    const { start, end } = label
    const value = end - start > 12 || end === start ? Number.NaN : Number(lines.toString('latin1', start, end))
    if (value >= 0 && Number.isFinite(value)) return toCount(value)
    // vLLM says `None` where it does not know yet.
    this.metrics.invalid |= signal
    return 0
  }
}

/** Sets `series` to the first one of the family at `from` (a newline) or later; returns where it begins, or −1. */
function find(lines: Buffer, needle: Buffer, name: Buffer, from: number): number {
  let at = lines.indexOf(needle, from)
  while (at >= 0 && !readSeries(lines, name, at + 1)) at = lines.indexOf(needle, at + needle.length)
  return at < 0 ? -1 : at + 1
}

const MAX_LORA = Buffer.from('max_lora')
const RUNNING_ADAPTERS = Buffer.from('running_lora_adapters')
const WAITING_ADAPTERS = Buffer.from('waiting_lora_adapters')

function toCount(value: number): number {
  return value <= 0 ? 0 : Math.min(Math.round(value), LARGEST_COUNT)
}

/** Writes the ids of the comma list in a label from `into[from]` on; returns how many there was room for. */
function readNames(lines: Buffer, name: Buffer, into: Int32Array, from: number): number {
  if (!findLabel(lines, name)) return 0
  let count = 0
  let { start } = label
  for (let at = label.start; at <= label.end; at++) {
    if (at < label.end && lines[at] !== COMMA) continue
    let end = at
    while (start < end && lines[start] === SPACE) start++
    while (end > start && lines[end - 1] === SPACE) end--
    if (end > start && from + count < into.length) into[from + count++] = adapterIdOfBytes(lines, start, end)
    start = at + 1
  }
  return count
}
