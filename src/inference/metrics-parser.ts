/**
 * Reads the handful of vLLM series that picking needs straight from the bytes of a Prometheus text page, without parsing the
 * rest of it: each family is searched as `\nname` and must be followed by `{`, a space or a tab, so that HELP lines, other
 * families with the same prefix and values inside labels never match. Formats: text 0.0.4 and the same subset of OpenMetrics.
 *
 * Budget: below 10 µs for the 403-line page (measured 4–6 µs, most of it the search for families that are absent;
 * `test/bench/scrape.bench.ts` prints it), against 1.2 ms for a full parse.
 *
 * Several series of one family: a server with data-parallel ranks shows one series per `engine`, and a request may go to any
 * of them, so that `waiting`, `running` and the block count are summed and `kvUsage` is the mean. (The Go peers take one rank
 * for the whole.) A series without a finite value ≥ 0 counts as absent.
 */
import { adapterIdOfBytes } from './adapter-id.ts'
import { ADAPTERS_PER_ENDPOINT } from './endpoint-table.ts'

/** One page's result; reused from scrape to scrape. Families that are absent are 0. */
export interface VllmMetrics {
  waiting: number
  running: number
  kvUsage: number
  blockSize: number
  blockCount: number
  maxLora: number
  /** Counters since the replica's start: first tokens, the sum of the times to them, … */
  firstTokens: number
  firstTokenSeconds: number
  /** … prompt tokens, those of them found in the cache, … */
  promptTokens: number
  cachedTokens: number
  /** … and requests that have ended, in whatever way. */
  ended: number
  /** `adapters[0, runningAdapters)` serve requests, the next `waitingAdapters` wait. */
  runningAdapters: number
  waitingAdapters: number
  readonly adapters: Int32Array
}

export function createVllmMetrics(): VllmMetrics {
  return {
    waiting: 0,
    running: 0,
    kvUsage: 0,
    blockSize: 0,
    blockCount: 0,
    maxLora: 0,
    firstTokens: 0,
    firstTokenSeconds: 0,
    promptTokens: 0,
    cachedTokens: 0,
    ended: 0,
    runningAdapters: 0,
    waitingAdapters: 0,
    adapters: new Int32Array(ADAPTERS_PER_ENDPOINT),
  }
}

const WAITING = Buffer.from('\nvllm:num_requests_waiting')
const RUNNING = Buffer.from('\nvllm:num_requests_running')
const KV_USAGE = Buffer.from('\nvllm:kv_cache_usage_perc')
/** Before vLLM 0.10. */
const OLD_KV_USAGE = Buffer.from('\nvllm:gpu_cache_usage_perc')
const CACHE_CONFIG = Buffer.from('\nvllm:cache_config_info')
const LORA = Buffer.from('\nvllm:lora_requests_info')

const FIRST_TOKENS = Buffer.from('\nvllm:time_to_first_token_seconds_count')
const FIRST_TOKEN_SECONDS = Buffer.from('\nvllm:time_to_first_token_seconds_sum')
const PROMPT_TOKENS = Buffer.from('\nvllm:prompt_tokens_total')
const CACHED_TOKENS = Buffer.from('\nvllm:prefix_cache_hits_total')
const ENDED = Buffer.from('\nvllm:request_success_total')

const BLOCK_SIZE = Buffer.from('block_size')
const BLOCK_COUNT = Buffer.from('num_gpu_blocks')
const MAX_LORA = Buffer.from('max_lora')
const RUNNING_ADAPTERS = Buffer.from('running_lora_adapters')
const WAITING_ADAPTERS = Buffer.from('waiting_lora_adapters')

const NEWLINE = 0x0a
const CARRIAGE_RETURN = 0x0d
const TAB = 0x09
const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const EQUALS = 0x3d
const BACKSLASH = 0x5c
const OPEN = 0x7b
const CLOSE = 0x7d

/** Offsets of the series found last; module-wide because parsing is synchronous and must not allocate. */
let labelsStart = 0
let labelsEnd = 0
let seriesEnd = 0
let seriesValue = 0
let valueStart = 0
let valueEnd = 0

/**
 * Fills `into` from the page. False when it has neither a waiting nor a running count: then it is no page of a vLLM and the
 * scrape was not a good one (`into` is unspecified).
 */
export function parseVllmMetrics(page: Buffer, into: VllmMetrics): boolean {
  const waiting = sumSeries(page, WAITING)
  const running = sumSeries(page, RUNNING)
  if (waiting < 0 && running < 0) return false
  into.waiting = toCount(waiting)
  into.running = toCount(running)
  let usage = meanSeries(page, KV_USAGE)
  if (usage < 0) usage = meanSeries(page, OLD_KV_USAGE)
  into.kvUsage = Math.min(1, Math.max(0, usage))
  readCounters(page, into)
  readCacheConfig(page, into)
  readAdapters(page, into)
  return true
}

function toCount(value: number): number {
  return value <= 0 ? 0 : Math.min(Math.round(value), 0x3fffffff)
}

/** −1: no usable series. */
function sumSeries(page: Buffer, name: Buffer): number {
  let sum = -1
  for (let at = nextSeries(page, name, -1); at >= 0; at = nextSeries(page, name, at)) {
    if (seriesValue >= 0) sum = Math.max(sum, 0) + seriesValue
  }
  return sum
}

function meanSeries(page: Buffer, name: Buffer): number {
  let sum = 0
  let count = 0
  for (let at = nextSeries(page, name, -1); at >= 0; at = nextSeries(page, name, at)) {
    if (seriesValue < 0) continue
    sum += seriesValue
    count++
  }
  return count === 0 ? -1 : sum / count
}

function readCounters(page: Buffer, into: VllmMetrics): void {
  into.firstTokens = Math.max(0, sumSeries(page, FIRST_TOKENS))
  into.firstTokenSeconds = Math.max(0, sumSeries(page, FIRST_TOKEN_SECONDS))
  into.promptTokens = Math.max(0, sumSeries(page, PROMPT_TOKENS))
  into.cachedTokens = Math.max(0, sumSeries(page, CACHED_TOKENS))
  into.ended = Math.max(0, sumSeries(page, ENDED))
}

function readCacheConfig(page: Buffer, into: VllmMetrics): void {
  into.blockSize = 0
  into.blockCount = 0
  for (let at = nextSeries(page, CACHE_CONFIG, -1); at >= 0; at = nextSeries(page, CACHE_CONFIG, at)) {
    if (into.blockSize === 0) into.blockSize = integerLabel(page, BLOCK_SIZE)
    into.blockCount = Math.min(into.blockCount + integerLabel(page, BLOCK_COUNT), 0x3fffffff)
  }
}

/** The gauge's value is the time of the report: the newest series is the current state, older ones linger. */
function readAdapters(page: Buffer, into: VllmMetrics): void {
  into.maxLora = 0
  into.runningAdapters = 0
  into.waitingAdapters = 0
  let newest = -1
  for (let at = nextSeries(page, LORA, -1); at >= 0; at = nextSeries(page, LORA, at)) {
    if (seriesValue <= newest) continue
    newest = seriesValue
    into.maxLora = integerLabel(page, MAX_LORA)
    into.runningAdapters = readNames(page, RUNNING_ADAPTERS, into.adapters, 0)
    into.waitingAdapters = readNames(page, WAITING_ADAPTERS, into.adapters, into.runningAdapters)
  }
}

/** Writes the ids of the comma list in a label from `into[from]` on; returns how many there was room for. */
function readNames(page: Buffer, label: Buffer, into: Int32Array, from: number): number {
  if (!findLabel(page, label)) return 0
  let count = 0
  let start = valueStart
  for (let at = valueStart; at <= valueEnd; at++) {
    if (at < valueEnd && page[at] !== COMMA) continue
    let end = at
    while (start < end && page[start] === SPACE) start++
    while (end > start && page[end - 1] === SPACE) end--
    if (end > start && from + count < into.length) into[from + count++] = adapterIdOfBytes(page, start, end)
    start = at + 1
  }
  return count
}

function integerLabel(page: Buffer, label: Buffer): number {
  if (!findLabel(page, label) || valueEnd - valueStart > 12) return 0
  const value = Number(page.toString('latin1', valueStart, valueEnd))
  return Number.isFinite(value) ? toCount(value) : 0
}

/**
 * Finds the next series of a family: the first of the page when `after` is −1, else the one that begins where the previous
 * ended (series of one family are consecutive in the format, so that the end of a family costs no search). Sets the module's
 * offsets and `seriesValue` (−1 when it isn't a finite number ≥ 0). Returns the offset to continue with, or −1.
 */
function nextSeries(page: Buffer, name: Buffer, after: number): number {
  if (after >= 0) return seriesAt(page, name, after) ? seriesEnd : -1
  // A page may begin with the series itself, without the newline that is part of `name`.
  if (seriesAt(page, name, -1)) return seriesEnd
  for (let at = page.indexOf(name); at >= 0; at = page.indexOf(name, at + name.length)) {
    if (seriesAt(page, name, at)) return seriesEnd
  }
  return -1
}

/** Reads the line after the newline at `at` when it is a series of the family. */
function seriesAt(page: Buffer, name: Buffer, at: number): boolean {
  for (let i = 1; i < name.length; i++) if (page[at + i] !== name[i]) return false
  let position = at + name.length
  while (page[position] === SPACE || page[position] === TAB) position++
  labelsStart = labelsEnd = position
  if (page[position] === OPEN) {
    labelsStart = position + 1
    labelsEnd = endOfLabels(page, labelsStart)
    if (labelsEnd < 0) return false
    position = labelsEnd + 1
    while (page[position] === SPACE || page[position] === TAB) position++
  } else if (position === at + name.length) {
    return false // a longer name
  }
  const start = position
  let byte = page[position]
  while (byte !== undefined && byte !== SPACE && byte !== TAB && byte !== CARRIAGE_RETURN && byte !== NEWLINE) {
    byte = page[++position]
  }
  const value =
    position > start && position - start <= 32 ? Number(page.toString('latin1', start, position)) : Number.NaN
  seriesValue = Number.isFinite(value) && value >= 0 ? value : -1
  // A timestamp or an exemplar may follow.
  while (position < page.length && page[position] !== NEWLINE) position++
  seriesEnd = position
  return true
}

/** Offset of the closing brace, −1 when the line ends first. */
function endOfLabels(page: Buffer, from: number): number {
  let quoted = false
  for (let at = from; at < page.length; at++) {
    const byte = page[at]
    if (byte === NEWLINE) return -1
    if (quoted) {
      if (byte === BACKSLASH) at++
      else if (byte === QUOTE) quoted = false
    } else if (byte === QUOTE) {
      quoted = true
    } else if (byte === CLOSE) {
      return at
    }
  }
  return -1
}

/** Finds a label of the current series and sets `valueStart`, `valueEnd` to its (still escaped) value. */
function findLabel(page: Buffer, label: Buffer): boolean {
  let at = labelsStart
  while (at < labelsEnd) {
    while (page[at] === COMMA || page[at] === SPACE || page[at] === TAB) at++
    const nameStart = at
    while (at < labelsEnd && page[at] !== EQUALS && page[at] !== SPACE) at++
    const nameEnd = at
    while (at < labelsEnd && page[at] !== QUOTE) at++
    const start = ++at
    while (at < labelsEnd && page[at] !== QUOTE) at += page[at] === BACKSLASH ? 2 : 1
    if (nameEnd - nameStart === label.length && startsWith(page, label, nameStart)) {
      valueStart = start
      valueEnd = Math.min(at, labelsEnd)
      return true
    }
    at++
  }
  return false
}

function startsWith(page: Buffer, text: Buffer, at: number): boolean {
  for (let i = 0; i < text.length; i++) if (page[at + i] !== text[i]) return false
  return true
}
