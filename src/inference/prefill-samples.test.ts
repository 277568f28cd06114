import { describe, expect, it } from '@jest/globals'
import { type PrefillSample, PrefillSampler } from './prefill-samples.ts'
import { createReplicaMetrics } from './replica-metrics.ts'

const RATE = 0.5
const BASE_MS = 75
const SCRAPE_MS = 50

interface Load {
  /** Uncached tokens of each prompt, and those that the cache has. */
  readonly tokens: number
  readonly cached?: number
  /** From a prefill's end to the next one's begin, ms; less than 0: the next one waits by then. */
  readonly idleMs: number
  readonly ms: number
  /** Requests that end without a first token, one every so many prefills. */
  readonly aborts?: number
  /** Answers end so many prefills later; prompts are counted with the first token, or with the end. */
  readonly answers?: number
  readonly promptsCounted?: 'first-token' | 'end'
}

/** Prefills one after the other at `RATE`, scraped all the time. */
function run({ tokens, cached = 0, idleMs, ms, aborts = 0, answers = 6, promptsCounted = 'first-token' }: Load) {
  const page = createReplicaMetrics()
  const sampler = new PrefillSampler(0)
  const samples: PrefillSample[] = []
  const duration = BASE_MS + tokens * RATE
  const queue = Math.max(0, -idleMs)
  let end = idleMs
  let begun = false
  for (let now = 0; now < ms; now += SCRAPE_MS) {
    if (begun && now >= end) {
      begun = false
      page.firstTokens++
      page.firstTokenSeconds += (duration + queue) / 1000
      if (page.firstTokens > answers) {
        page.ended++
        page.running--
      }
      if (promptsCounted === 'first-token' || page.firstTokens > answers) page.promptTokens += tokens + cached
      if (aborts > 0 && page.firstTokens % aborts === 0) page.ended++
    }
    if (!begun && now >= end + Math.max(0, idleMs)) {
      begun = true
      end = now + duration
      page.running++
      page.queriedTokens += tokens + cached
      page.cachedTokens += cached
    }
    page.waiting = queue > 0 ? 1 : 0
    const sample = sampler.take(page, now)
    if (sample !== undefined) samples.push(sample)
  }
  return samples
}

function median(samples: readonly PrefillSample[]): number {
  return samples.map(({ tokens, ms }) => (ms - BASE_MS) / tokens).sort((a, b) => a - b)[samples.length >> 1]!
}

describe('samples', () => {
  it('come of a replica that has moments without prefills', () => {
    expect(median(run({ tokens: 800, idleMs: 400, ms: 60_000 })) / RATE).toBeCloseTo(1, 1)
  })

  it('come of one that is never without a queue, by the time in which it prefills and not by what requests waited', () => {
    const samples = run({ tokens: 800, idleMs: -30_000, ms: 25_000 })
    expect(samples.length).toBeGreaterThan(5)
    expect(Math.abs(median(samples) / RATE - 1)).toBeLessThan(0.1)
  })

  it('are not too low after minutes of load', () => {
    const samples = run({ tokens: 800, idleMs: -30_000, ms: 300_000 })
    expect(Math.abs(median(samples.slice(-10)) / RATE - 1)).toBeLessThan(0.1)
  })

  it('are not much too high where requests end without a first token', () => {
    const samples = run({ tokens: 800, idleMs: 300, ms: 200_000, aborts: 20 })
    expect(median(samples) / RATE).toBeGreaterThan(0.9)
    expect(median(samples) / RATE).toBeLessThan(1.6)
  })

  it('are of the tokens that the cache did not have, whenever prompts are counted', () => {
    for (const promptsCounted of ['first-token', 'end'] as const)
      expect(median(run({ tokens: 800, cached: 7000, idleMs: 400, ms: 60_000, promptsCounted })) / RATE).toBeCloseTo(
        1,
        1,
      )
  })
})

it('takes no sample across scrapes that are far apart, nor across a restart', () => {
  const sampler = new PrefillSampler(0)
  const page = { ...createReplicaMetrics(), running: 3, waiting: 1 }
  let now = 0
  const later = (gap: number, firstTokens: number) => {
    now += gap
    const promptTokens = firstTokens * 100
    Object.assign(page, { firstTokens, ended: firstTokens, firstTokenSeconds: firstTokens, promptTokens })
    return sampler.take(page, now)
  }
  later(50, 90)
  later(50, 91)
  expect(later(50, 95)).toBeDefined()
  expect(later(5000, 99)).toBeUndefined()
  expect(later(50, 103)).toBeDefined()
  expect(later(50, 1)).toBeUndefined()
  expect(later(50, 2)).toBeUndefined()
  expect(later(50, 6)).toBeDefined()
})
