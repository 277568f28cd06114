/**
 * Reads the handful of series that picking needs straight from the bytes of a Prometheus text page as they come, without keeping the
 * page or parsing the rest of it: each family is looked for where it was on the page before (./family-finder.ts), and once all of them were seen
 * the rest is passed over. Families that a page may do without are looked for in every 16th page only, once one had not got them.
 *
 * Budget: below 8 µs for vLLM's page of 403 lines (`test/bench/scrape.bench.ts` prints it), against 1.2 ms for a full parse.
 *
 * Several series of one family that match: a server with data-parallel ranks shows one series per rank, and a request may go to any
 * of them, so that counts are summed and the cache's usage is the mean. (The Go peers take one rank for the whole.) Where series have
 * timestamps, those with the newest count. Of LoRA reports the one with the newest *value* counts, which is its time.
 *
 * A series whose value is no number that makes sense (NaN, infinite, negative) counts as absent, and is told of.
 */
import { readAdapterList } from './adapter-list.ts'
import { type EnginePage, type Want, WantKind } from './engine-page.ts'
import { FamilyFinder } from './family-finder.ts'
import { addTotal, clearTotals, createReplicaMetrics, type ReplicaMetrics, Signal } from './replica-metrics.ts'
import { findLabel, label, labelIs, numberIn, readSeries, series } from './series.ts'

/** A longer line is passed over. */
const LONGEST_LINE = 64 * 1024
const LARGEST_COUNT = 0x3fffffff
const NEWLINE = 0x0a
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
  readonly #finder: FamilyFinder
  /** Pages in which an optional family is not looked for yet. */
  readonly #skip: Uint8Array
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
    this.#finder = new FamilyFinder(page.families)
    this.#skip = new Uint8Array(page.families.length)
    this.#sum = new Float64Array(page.wants)
    this.#count = new Int32Array(page.wants)
    this.#newest = new Float64Array(page.wants)
  }

  /** A new page. */
  begin(): void {
    this.#ended = this.#held = this.#before = 0
    this.#finder.begin()
    for (let f = 0; f < this.#skip.length; f++) {
      this.#state[f] = SOUGHT
      if (this.#skip[f] === 0) continue
      this.#skip[f]!--
      this.#end(f)
    }
    for (let w = 0; w < this.#count.length; w++) {
      this.#sum[w] = this.#count[w] = 0
      this.#newest[w] = Number.NEGATIVE_INFINITY
    }
    this.#found = this.#overlong = false
    this.#loraAt = -1
    const metrics = this.metrics
    metrics.waiting = metrics.running = metrics.kvUsage = metrics.blockSize = metrics.blockCount = 0
    metrics.maxLora = metrics.runningAdapters = metrics.waitingAdapters = 0
    metrics.missing = metrics.invalid = 0
    if (this.page.attributes.length > 0) metrics.attributes.fill(Number.NaN)
  }

  /** Bytes of the page; may end anywhere. */
  take(bytes: Buffer, start: number, end: number): void {
    if (this.#ended === this.page.families.length) return
    let at = start
    if (this.#held > 0 || this.#overlong) {
      const newline = bytes.indexOf(NEWLINE, start)
      const found = newline >= 0 && newline < end
      this.#hold(bytes, start, found ? newline : end)
      if (!found) return
      this.#readHeld()
      at = newline + 1
    }
    let last = end - 1
    while (last >= at && bytes[last] !== NEWLINE) last--
    if (last >= at) {
      this.#readLines(bytes, at, last)
      at = last + 1
    }
    this.#hold(bytes, at, end)
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
    clearTotals(metrics)
    for (const { want, field } of page.totals) addTotal(metrics, field, this.#sum[want.id]!)
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
    if (length >= this.#line.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(LONGEST_LINE + 1, Math.max(256, 2 * length)))
      this.#line.copy(larger, 0, 0, this.#held)
      this.#line = larger
    }
    bytes.copy(this.#line, this.#held, start, end)
    this.#held = length
  }

  #readHeld(): void {
    const held = this.#held
    if (held > 0) {
      this.#line[held] = NEWLINE
      this.#readLines(this.#line, 0, held)
    }
    this.#held = 0
    this.#overlong = false
  }

  /** The lines [begin, end); the newline of the last one is at `end`. */
  #readLines(bytes: Buffer, begin: number, end: number): void {
    const { order } = this.#finder
    let from = begin
    for (let o = 0; o < order.length; o++) {
      const f = order[o]!
      if (this.#state[f] === ENDED) continue
      const stop = this.#readFamily(bytes, f, begin, end, from)
      if (stop > from) from = stop
    }
    this.#before += end - begin + 1
  }

  /** Reads the family's series, looking for them from `from` on at first. Returns where they end, −1: there are none. */
  #readFamily(bytes: Buffer, f: number, begin: number, end: number, from: number): number {
    const { name, wants, instead } = this.page.families[f]!
    let at = -1
    if (this.#state[f] === SOUGHT) {
      at = this.#finder.find(bytes, f, begin, end, from, this.#before - begin)
      if (at < 0) return -1
    } else if (readSeries(bytes, name, begin)) at = begin
    let stop = -1
    // Series of one family stand together, so that its end costs no search.
    for (let found = at >= 0; found; found = readSeries(bytes, name, stop + 1)) {
      stop = series.end
      for (let w = 0; w < wants.length; w++) this.#take(bytes, wants[w]!)
      this.#state[f] = OPEN
      if (stop >= end) return stop
    }
    this.#end(f)
    if (instead !== undefined && this.#state[instead] !== ENDED) this.#end(instead)
    return stop
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
    const value = end - start > 12 ? Number.NaN : numberIn(lines, start, end)
    if (value >= 0 && Number.isFinite(value)) return toCount(value)
    // vLLM says `None` where it does not know yet.
    this.metrics.invalid |= signal
    return 0
  }
}

const MAX_LORA = Buffer.from('max_lora')
const RUNNING_ADAPTERS = Buffer.from('running_lora_adapters')
const WAITING_ADAPTERS = Buffer.from('waiting_lora_adapters')

function toCount(value: number): number {
  return value <= 0 ? 0 : Math.min(Math.round(value), LARGEST_COUNT)
}

/** … of the adapters that a label lists. */
function readNames(lines: Buffer, name: Buffer, into: Int32Array, from: number): number {
  return findLabel(lines, name) ? readAdapterList(lines, label.start, label.end, into, from) : 0
}
