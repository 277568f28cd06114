/** What one metrics page says of a replica. */
import { ADAPTERS_PER_ENDPOINT, ATTRIBUTES_PER_ENDPOINT, MissingSignal } from './endpoint-table.ts'

/** Bits for what a page may lack, or say as what makes no sense. The first three are those of `MissingSignal`. */
export const Signal = {
  ...MissingSignal,
  BLOCK_SIZE: 8,
  BLOCK_COUNT: 16,
  LORA: 32,
  ATTRIBUTE: 64,
} as const

/** Names for metrics and logs, by the bit's place. */
export const SIGNAL_NAMES = [
  'waiting',
  'running',
  'kv-cache-usage',
  'block-size',
  'block-count',
  'lora',
  'attribute',
] as const

/** One page's result; reused from page to page. What is absent is 0, of attributes NaN. */
export interface ReplicaMetrics {
  waiting: number
  running: number
  /** 0 … 1 */
  kvUsage: number
  blockSize: number
  blockCount: number
  /** Requests that got their first token since the server's start, and the sum of the times that they waited for it. */
  firstTokens: number
  firstTokenSeconds: number
  /** Tokens of prompts since the server's start, and those of them that the prefix cache had. */
  promptTokens: number
  cachedTokens: number
  /** Tokens looked up in the prefix cache since the server's start: those of `cachedTokens`, and the others. */
  queriedTokens: number
  /** Tokens that came after another one of their request since the server's start, and the sum of the times between the two. */
  tokenGaps: number
  tokenGapSeconds: number
  /** Requests that are over, since the server's start. */
  ended: number
  maxLora: number
  /** `adapters[0, runningAdapters)` serve requests, the next `waitingAdapters` wait. */
  runningAdapters: number
  waitingAdapters: number
  readonly adapters: Int32Array
  readonly attributes: Float64Array
  /** Bits of `Signal` that the page should have, and has not, or not as a number that makes sense. */
  missing: number
  /** Bits of `Signal` of which the page says something that makes no sense: NaN, infinite, negative, a share above 1. */
  invalid: number
}

export function createReplicaMetrics(): ReplicaMetrics {
  return {
    waiting: 0,
    running: 0,
    kvUsage: 0,
    blockSize: 0,
    blockCount: 0,
    firstTokens: 0,
    firstTokenSeconds: 0,
    promptTokens: 0,
    cachedTokens: 0,
    queriedTokens: 0,
    tokenGaps: 0,
    tokenGapSeconds: 0,
    ended: 0,
    maxLora: 0,
    runningAdapters: 0,
    waitingAdapters: 0,
    adapters: new Int32Array(ADAPTERS_PER_ENDPOINT),
    attributes: new Float64Array(ATTRIBUTES_PER_ENDPOINT).fill(Number.NaN),
    missing: 0,
    invalid: 0,
  }
}

/** What only counts up and has one metric … */
export const TOTALS = [
  'firstTokens',
  'firstTokenSeconds',
  'promptTokens',
  'cachedTokens',
  'queriedTokens',
  'ended',
] as const satisfies readonly (keyof ReplicaMetrics)[]
/** … or one of several names. */
export type Total = (typeof TOTALS)[number] | 'tokenGaps' | 'tokenGapSeconds'

export function clearTotals(metrics: ReplicaMetrics): void {
  metrics.firstTokens = metrics.firstTokenSeconds = metrics.promptTokens = metrics.cachedTokens = 0
  metrics.queriedTokens = metrics.ended = metrics.tokenGaps = metrics.tokenGapSeconds = 0
}

/** Each field by its name in the source: writing to one that is only known now costs ten times as much, and a page has ten. */
export function addTotal(metrics: ReplicaMetrics, total: Total, value: number): void {
  switch (total) {
    case 'firstTokens':
      metrics.firstTokens += value
      break
    case 'firstTokenSeconds':
      metrics.firstTokenSeconds += value
      break
    case 'promptTokens':
      metrics.promptTokens += value
      break
    case 'cachedTokens':
      metrics.cachedTokens += value
      break
    case 'queriedTokens':
      metrics.queriedTokens += value
      break
    case 'ended':
      metrics.ended += value
      break
    case 'tokenGaps':
      metrics.tokenGaps += value
      break
    case 'tokenGapSeconds':
      metrics.tokenGapSeconds += value
      break
  }
}
