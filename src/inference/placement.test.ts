/**
 * Where requests go when the picker meets replicas that behave like inference servers: a small deterministic simulation after the
 * placement workloads of peers-measured.md. A replica has a number of batch slots, a queue, a prefix cache, and prefills one
 * prompt at a time; the picker sees its numbers at scrapes only.
 */
import { describe, expect, it } from '@jest/globals'
import { PickResult } from './pool.ts'
import { PrefixHasher } from './prefix-hasher.ts'
import { Random } from './scheduling/random.ts'
import { addresses, LocalPool, poolPlan, request, scrape } from './testing.ts'

const REPLICAS = 6
const BATCH = 8
const BLOCK = 1024
const PREFILL_MS_PER_BLOCK = 40
const SCRAPE_MS = 50

interface Arrival {
  readonly at: number
  /** Blocks of the prompt, as texts. */
  readonly blocks: readonly string[]
  readonly decodeMs: number
}

/** A replica's timeline is worked out at arrival: requests start in order when a slot and the prefill unit are free. */
class Replica {
  readonly cache = new Set<string>()
  #requests: { readonly start: number; readonly end: number }[] = []
  #prefillFree = 0

  /** Returns the time to first token. Arrivals must come in order of time. */
  serve(arrival: Arrival): number {
    this.#requests = this.#requests.filter(({ end }) => end > arrival.at)
    const ends = this.#requests.map(({ end }) => end).sort((a, b) => a - b)
    const slotFree = ends.length < BATCH ? arrival.at : ends[ends.length - BATCH]!
    const start = Math.max(arrival.at, slotFree, this.#prefillFree)
    let cached = 0
    while (cached < arrival.blocks.length && this.cache.has(arrival.blocks[cached]!)) cached++
    for (const block of arrival.blocks) this.cache.add(block)
    const firstToken = start + 5 + (arrival.blocks.length - cached) * PREFILL_MS_PER_BLOCK
    this.#prefillFree = firstToken
    this.#requests.push({ start, end: firstToken + arrival.decodeMs })
    return firstToken - arrival.at
  }

  waiting(at: number): number {
    return this.#requests.reduce((count, { start }) => count + (start > at ? 1 : 0), 0)
  }

  running(at: number): number {
    return this.#requests.reduce((count, { start, end }) => count + (start <= at && end > at ? 1 : 0), 0)
  }
}

interface Outcome {
  /** Share of requests whose first token came within twice the unloaded time plus 100 ms. */
  readonly good: number
  /** Mean time to first token, ms. */
  readonly firstToken: number
}

/** Runs a workload; `choose` overrides the pool's choice. */
function run(workload: readonly Arrival[], choose?: (replicas: readonly Replica[], at: number) => number): Outcome {
  const plan = poolPlan(addresses(REPLICAS), { scheduling: { prefixBlockBytes: BLOCK } })
  const pool = new LocalPool(plan, { releaseBy: 'scrape' })
  const replicas = Array.from({ length: REPLICAS }, () => new Replica())
  const result = new PickResult()
  const hasher = new PrefixHasher()
  let nextScrape = 0
  let good = 0
  let firstTokens = 0
  for (const arrival of workload) {
    for (; nextScrape <= arrival.at; nextScrape += SCRAPE_MS) {
      replicas.forEach((replica, slot) => {
        const running = replica.running(nextScrape)
        const changes = { waiting: replica.waiting(nextScrape), running, kvUsage: running / BATCH / 2 }
        scrape(pool, slot, changes, nextScrape + 1)
      })
    }
    hasher.reset(BLOCK, 64 * BLOCK)
    for (const block of arrival.blocks) hasher.update(Buffer.alloc(BLOCK, block), 0, BLOCK)
    const promptBytes = arrival.blocks.length * BLOCK
    pool.pick(request({ prefix: hasher, promptBytes, nowMs: arrival.at + 1 }), result)
    const replica = choose === undefined ? result.slots[0]! : choose(replicas, arrival.at)
    const unloaded = 5 + arrival.blocks.length * PREFILL_MS_PER_BLOCK
    const firstToken = replicas[replica]!.serve(arrival)
    firstTokens += firstToken
    if (firstToken <= 2 * unloaded + 100) good++
  }
  return { good: good / workload.length, firstToken: firstTokens / workload.length }
}

function leastRequest(replicas: readonly Replica[], at: number): number {
  const loads = replicas.map(replica => replica.running(at) + replica.waiting(at))
  return loads.indexOf(Math.min(...loads))
}

function blocks(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${name}/${i} `)
}

/** One long prefix in 70 % of the requests. */
function hotPrefix(random: Random): Arrival[] {
  return Array.from({ length: 400 }, (_, i) => ({
    at: i * 110 + random.below(100),
    blocks: random.below(10) < 7 ? [...blocks('hot', 14), `own ${i}`] : blocks(`cold ${i}`, 5),
    decodeMs: 2000 + random.below(3000),
  }))
}

/** Now and then 48 requests with one prefix within a scrape interval. */
function bursts(random: Random): Arrival[] {
  return Array.from({ length: 8 * 48 }, (_, i) => {
    const burst = Math.floor(i / 48)
    return { at: burst * 9000 + (i % 48) / 2, blocks: blocks(`burst ${burst}`, 8), decodeMs: 2000 + random.below(2000) }
  })
}

/** Conversations that grow turn by turn on one of eight system prompts. */
function chat(random: Random): Arrival[] {
  const turns = new Map<number, number>()
  return Array.from({ length: 500 }, (_, i) => {
    const user = random.below(30)
    const turn = (turns.get(user) ?? 0) + 1
    turns.set(user, turn % 6)
    return {
      at: i * 120 + random.below(80),
      blocks: [...blocks(`system ${user % 8}`, 6), ...blocks(`user ${user}`, 4 * turn)],
      decodeMs: 1500 + random.below(1500),
    }
  })
}

describe('placement with the default scorers', () => {
  it('lets a hot prefix spill over to as many replicas as it needs', () => {
    const workload = hotPrefix(new Random(1))
    const ours = run(workload)
    // The trap: a prefix that never leaves its replica.
    const sticky = run(workload, () => 0)
    expect(sticky.good).toBeLessThan(0.5)
    expect(ours.good).toBeGreaterThanOrEqual(run(workload, leastRequest).good - 0.03)
  })

  it('spreads a burst inside one scrape interval', () => {
    const workload = bursts(new Random(1))
    expect(run(workload).good).toBeGreaterThanOrEqual(run(workload, leastRequest).good - 0.03)
  })

  it('keeps conversations where their prefix is', () => {
    const workload = chat(new Random(1))
    const ours = run(workload)
    const spread = run(workload, leastRequest)
    expect(ours.good).toBeGreaterThanOrEqual(spread.good)
    expect(ours.firstToken).toBeLessThan(spread.firstToken / 2)
  })
})
