/**
 * A run of one workload under one contender: the engines of `signalbox sim` on a virtual clock. Deterministic: the same workload and
 * contender give the same figures on any machine.
 */
import { adapterId } from '../../../src/inference/adapter-id.ts'
import { createReplicaMetrics, type ReplicaMetrics } from '../../../src/inference/replica-metrics.ts'
import { Engine, type EngineObserver, type EngineOptions } from '../../../src/sim/engine.ts'
import type { Sequence } from '../../../src/sim/sequence.ts'
import { VirtualClock } from '../../../src/sim/virtual-clock.ts'
import type { Contender, ContenderKind } from './contender.ts'
import { type Arrival, answerToken, BASE_MODEL, type Workload } from './workloads.ts'

const SCRAPE_MS = 50
/** From the replica to the picker: what is scraped is that old when it is known. */
const SCRAPE_LATENCY_MS = 2
/** A dead replica is taken off the list by its readiness probe after this. */
const READINESS_MS = 5000

export interface Outcome {
  readonly workload: string
  readonly contender: string
  readonly requests: number
  /** Percentiles of the time to first token, ms; a failed request took for ever. */
  readonly ttft: { readonly p50: number; readonly p90: number; readonly p99: number }
  /** Median of the mean time per further token of each request, ms. */
  readonly tpot: number
  /** Share of the requests whose first token came within twice the unloaded time plus 100 ms. */
  readonly good: number
  /** Share of the prompts' tokens that were found in the replica's cache. */
  readonly hits: number
  readonly failed: number
}

interface Replica {
  readonly engine: Engine
  readonly options: EngineOptions
  readonly counted: Counted
}

interface Served {
  readonly arrival: Arrival
  /** Gave the answer, and computed the prompt: the same one where roles are not apart. */
  answer: Sequence | undefined
  prompt: Sequence | undefined
}

/** What a replica's counters have counted since its start. */
class Counted implements EngineObserver {
  firstTokens = 0
  firstTokenSeconds = 0
  promptTokens = 0
  cachedTokens = 0
  queriedTokens = 0
  ended = 0

  step(promptTokens: number): void {
    this.promptTokens += promptTokens
  }

  prefixLookup(tokens: number, hits: number): void {
    this.queriedTokens += tokens
    this.cachedTokens += hits
  }

  token(sequence: Sequence, sinceMs: number): void {
    if (sequence.firstTokenAt !== undefined) return
    this.firstTokens++
    this.firstTokenSeconds += sinceMs / 1000
  }

  preempted(): void {}

  finished(): void {
    this.ended++
  }

  changed(): void {}
}

/** Replicas of one role, and who chooses among them. */
interface Group {
  readonly first: number
  readonly count: number
  readonly contender: Contender
}

export function simulate(workload: Workload, kind: ContenderKind, seed = 1): Outcome {
  const clock = new VirtualClock()
  const replicas = workload.engines.map((options): Replica => {
    const counted = new Counted()
    return { options, counted, engine: new Engine(options, clock, counted) }
  })
  const { prefillers = 0 } = workload
  const group = (first: number, count: number): Group => ({ first, count, contender: kind.create(count, seed) })
  const prefill = prefillers === 0 ? undefined : group(0, prefillers)
  const main = group(prefillers, replicas.length - prefillers)
  const groups = prefill === undefined ? [main] : [prefill, main]
  const dead = new Set<number>()
  const served: Served[] = []
  let over = 0

  const start = (arrival: Arrival, { first, contender }: Group, replica: number, maxTokens: number, then: () => void) =>
    replicas[first + replica]!.engine.submit({
      id: '',
      prompt: arrival.prompt,
      ...(arrival.model === BASE_MODEL ? {} : { lora: arrival.model }),
      maxTokens,
      naturalLength: Number.POSITIVE_INFINITY,
      generate: index => answerToken(arrival.prompt, index),
      token: () => false,
      finished: () => {
        contender.over(replica, arrival, clock.now())
        then()
      },
    })
  const submit = (arrival: Arrival) => {
    const replica = main.contender.pick(arrival, clock.now())
    if (dead.has(main.first + replica)) {
      main.contender.over(replica, arrival, clock.now())
      served.push({ arrival, answer: undefined, prompt: undefined })
      over++
      return
    }
    const whole: Served = { arrival, answer: undefined, prompt: undefined }
    served.push(whole)
    const answer = () => {
      whole.answer = start(arrival, main, replica, arrival.outputTokens, () => over++)
      whole.prompt ??= whole.answer
    }
    if (prefill === undefined) answer()
    else whole.prompt = start(arrival, prefill, prefill.contender.pick(arrival, clock.now()), 1, answer)
  }

  const end = workload.arrivals.at(-1)!.at + workload.drainMs
  const scrape = () => {
    for (const { first, count, contender } of groups) {
      for (let i = 0; i < count; i++) {
        const page = dead.has(first + i) ? undefined : pageOf(replicas[first + i]!)
        const at = clock.now()
        clock.after(SCRAPE_LATENCY_MS, () => contender.scraped(i, page, at))
      }
    }
    // When all is over nothing is left to see.
    if (clock.now() < end && over < workload.arrivals.length) clock.after(SCRAPE_MS, scrape)
  }
  scrape()
  if (workload.diesAt !== undefined) clock.after(workload.diesAt, () => die(main.contender))
  let next = 0
  const arrive = () => {
    submit(workload.arrivals[next++]!)
    if (next < workload.arrivals.length) clock.after(workload.arrivals[next]!.at - clock.now(), arrive)
  }
  clock.after(workload.arrivals[0]!.at, arrive)
  clock.advance(end)
  return summary(workload, kind, served)

  function die(picker: Contender): void {
    dead.add(0)
    const { engine } = replicas[0]!
    engine.close()
    for (const sequence of [...engine.running, ...engine.waiting]) engine.cancel(sequence)
    clock.after(READINESS_MS, () => picker.removed(0))
  }
}

function pageOf({ engine, options, counted }: Replica): ReplicaMetrics {
  const page = createReplicaMetrics()
  Object.assign(page, counted)
  page.waiting = engine.waiting.length
  page.running = engine.running.length
  page.kvUsage = engine.cache.usage
  page.blockSize = options.blockSize
  page.blockCount = options.numGpuBlocks
  page.maxLora = options.maxLoras
  const running = lorasOf(engine.running)
  const waiting = lorasOf(engine.waiting).filter(id => !running.includes(id))
  page.runningAdapters = running.length
  page.waitingAdapters = waiting.length
  page.adapters.set([...running, ...waiting])
  return page
}

function lorasOf(sequences: readonly Sequence[]): number[] {
  return [...new Set(sequences.flatMap(({ request }) => request.lora ?? []))].map(adapterId)
}

function summary(workload: Workload, kind: ContenderKind, served: readonly Served[]): Outcome {
  const ttfts: number[] = []
  const tpots: number[] = []
  let good = 0
  let failed = 0
  let tokens = 0
  let cached = 0
  for (const { arrival, answer, prompt } of served) {
    const { firstTokenAt, finishedAt, generated = 0 } = answer ?? {}
    const arrivedAt = prompt?.arrivedAt ?? 0
    const whole = generated === arrival.outputTokens
    if (!whole) failed++
    const ttft = whole && firstTokenAt !== undefined ? firstTokenAt - arrivedAt : Number.POSITIVE_INFINITY
    ttfts.push(ttft)
    if (ttft <= 2 * unloaded(workload.yardstick, arrival.prompt.length) + 100) good++
    if (whole && generated > 1) tpots.push((finishedAt! - firstTokenAt!) / (generated - 1))
    tokens += arrival.prompt.length
    cached += prompt?.cachedTokens ?? 0
  }
  ttfts.sort((a, b) => a - b)
  tpots.sort((a, b) => a - b)
  return {
    workload: workload.name,
    contender: kind.name,
    requests: served.length,
    ttft: { p50: percentile(ttfts, 0.5), p90: percentile(ttfts, 0.9), p99: percentile(ttfts, 0.99) },
    tpot: percentile(tpots, 0.5),
    good: good / served.length,
    hits: cached / tokens,
    failed,
  }
}

/** Time to first token of a prompt on an idle replica that has none of it. */
export function unloaded(engine: EngineOptions, tokens: number): number {
  const { prefillBaseMs, prefillMsPerToken, maxNumBatchedTokens } = engine
  return Math.ceil(tokens / maxNumBatchedTokens) * prefillBaseMs + tokens * prefillMsPerToken
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
