/** The workloads of the placement benchmark: open loop, made from a seed and a setup alone. Times in ms, lengths in tokens. */
import type { EngineOptions } from '../../../src/sim/engine.ts'
import { Random } from '../../../src/sim/random.ts'
import { type Setup, TUNED } from './setups.ts'

export interface Arrival {
  readonly at: number
  readonly model: string
  /** Token ids. */
  readonly prompt: Uint32Array
  readonly outputTokens: number
}

export interface Workload {
  readonly name: string
  readonly title: string
  /** In order of time. */
  readonly arrivals: readonly Arrival[]
  /** Engines by replica. */
  readonly engines: readonly EngineOptions[]
  /** The engine that a request is held against when it says whether it was served in time. */
  readonly yardstick: EngineOptions
  /** So many replicas prefill, and hand over to the others, which decode. Absent: all do both. */
  readonly prefillers?: number
  /** How long after the last arrival the run goes on. */
  readonly drainMs: number
  /** Replica 0 refuses connections from here on. */
  readonly diesAt?: number
}

const REPLICAS = 6
export const BASE_MODEL = 'base'

const DURATION_MS = 40_000
/** What has no first token by then, after the last arrival, is late for any objective. */
const DRAIN_MS = 60_000

/** What the generators below are called with. */
interface Making {
  readonly random: Random
  readonly duration: number
  readonly setup: Setup
}

type Made = Pick<Workload, 'name' | 'title' | 'arrivals'> & Partial<Workload>

/** Every workload, of a length in ms before the setup's pace stretches it. */
export function workloads(seed: number, duration = DURATION_MS, setup: Setup = TUNED): Workload[] {
  return [uniform, heavyTail, chat, hotPrefix, bursts, adapters, heterogeneous, dying, disaggregated].map(make =>
    workload(make, seed, duration, setup),
  )
}

/** A single one. */
export function workload(
  make: (making: Making) => Made,
  seed: number,
  duration: number,
  setup: Setup = TUNED,
): Workload {
  const { engine, pace } = setup
  return {
    engines: Array.from({ length: REPLICAS }, (_, i) => ({ ...engine, ...setup.replicas?.[i] })),
    yardstick: engine,
    drainMs: DRAIN_MS * pace,
    ...make({ random: new Random(seed), duration: duration * pace, setup }),
  }
}

export function uniform({ random, duration, setup }: Making): Made {
  const arrivals = poisson(random, duration, 13 / setup.pace, at => ({
    at,
    model: BASE_MODEL,
    prompt: fresh(random, random.between(400, 1200)),
    outputTokens: random.between(60, 140),
  }))
  return { name: 'uniform', title: 'uniform', arrivals }
}

/** Log-normal lengths: some prompts and answers are twenty times the median. */
function heavyTail({ random, duration, setup }: Making): Made {
  const arrivals = poisson(random, duration, 10 / setup.pace, at => ({
    at,
    model: BASE_MODEL,
    prompt: fresh(random, Math.min(16_000, Math.ceil(600 * Math.exp(1.2 * normal(random))))),
    outputTokens: Math.min(1000, Math.ceil(70 * Math.exp(0.9 * normal(random)))),
  }))
  return { name: 'heavy-tail', title: 'heavy-tailed prompts and answers', arrivals }
}

/** Conversations of six turns, each on one of eight system prompts of 3,000 tokens; the history grows with every turn. */
export function chat({ random, duration, setup }: Making): Made {
  const systems = Array.from({ length: 8 }, () => fresh(random, 3000))
  const arrivals: Arrival[] = []
  // Conversations that began before the start: the load is even from the first moment.
  for (let start = -30_000 * setup.pace; start < duration; start += exponential(random, (1000 / 2.6) * setup.pace)) {
    let history = systems[random.between(0, 7)]!
    let at = start
    for (let turn = 0; turn < 6; turn++) {
      const prompt = joined(history, fresh(random, random.between(200, 800)))
      const outputTokens = random.between(40, 120)
      if (at >= 0 && at < duration) arrivals.push({ at, model: BASE_MODEL, prompt, outputTokens })
      history = joined(prompt, answer(prompt, outputTokens))
      at += (3500 + exponential(random, 2500)) * setup.pace
    }
  }
  return { name: 'chat', title: 'multi-turn chat, 8 system prompts', arrivals: inOrder(arrivals) }
}

/** 70 % of the requests begin with the same 8,000 tokens. */
function hotPrefix({ random, duration, setup }: Making): Made {
  const hot = fresh(random, 8000)
  const arrivals = poisson(random, duration, 12 / setup.pace, at => ({
    at,
    model: BASE_MODEL,
    prompt: random.next() < 0.7 ? joined(hot, fresh(random, 100)) : fresh(random, random.between(400, 1600)),
    outputTokens: random.between(60, 140),
  }))
  return { name: 'hot-prefix', title: 'one hot prefix of 8k tokens, 70 %', arrivals }
}

/** 64 requests with one prefix within 20 ms, every six seconds, over a thin stream of others. */
function bursts({ random, duration, setup }: Making): Made {
  const arrivals = poisson(random, duration, 2 / setup.pace, at => ({
    at,
    model: BASE_MODEL,
    prompt: fresh(random, random.between(400, 1200)),
    outputTokens: random.between(40, 100),
  }))
  for (let start = 1000; start < duration; start += 6000 * setup.pace) {
    const prefix = fresh(random, 3000)
    for (let i = 0; i < 64; i++) {
      const prompt = joined(prefix, fresh(random, 50))
      arrivals.push({
        at: start + random.next() * 20,
        model: BASE_MODEL,
        prompt,
        outputTokens: random.between(40, 100),
      })
    }
  }
  return { name: 'bursts', title: 'bursts of 64 identical prefixes', arrivals: inOrder(arrivals) }
}

/** 15 adapters for 6 × 4 places, asked for by Zipf's law, each with its own system prompt. */
function adapters({ random, duration, setup }: Making): Made {
  const prompts = Array.from({ length: 15 }, () => fresh(random, 600))
  const arrivals = poisson(random, duration, 11 / setup.pace, at => {
    const adapter = zipf(random, 15)
    return {
      at,
      model: `adapter-${adapter}`,
      prompt: joined(prompts[adapter]!, fresh(random, random.between(100, 300))),
      outputTokens: random.between(40, 120),
    }
  })
  return { name: 'lora', title: '15 LoRA adapters, Zipf', arrivals }
}

/** Two replicas have twice the speed of the next two, which have twice the speed of the last two. */
function heterogeneous({ random, duration, setup }: Making): Made {
  const speeds = [0.5, 0.5, 1, 1, 2, 2]
  const { engine } = setup
  const engines = speeds.map((factor, i) => ({
    ...engine,
    ...setup.replicas?.[i],
    prefillBaseMs: engine.prefillBaseMs * factor,
    prefillMsPerToken: engine.prefillMsPerToken * factor,
    decodeMs: engine.decodeMs * factor,
  }))
  const arrivals = poisson(random, duration, 15 / setup.pace, at => ({
    at,
    model: BASE_MODEL,
    prompt: fresh(random, random.between(400, 1600)),
    outputTokens: random.between(60, 140),
  }))
  return { name: 'heterogeneous', title: 'replicas of three speeds', arrivals, engines }
}

function dying({ random, duration, setup }: Making): Made {
  const arrivals = poisson(random, duration, 10 / setup.pace, at => ({
    at,
    model: BASE_MODEL,
    prompt: fresh(random, random.between(400, 1200)),
    outputTokens: random.between(60, 140),
  }))
  return { name: 'dying', title: 'a replica dies mid-run', arrivals, diesAt: duration / 3 }
}

/** Two replicas prefill and four decode; what they hand over arrives quickly. Six long system prompts. */
function disaggregated({ random, duration, setup }: Making): Made {
  const prefillers = 2
  const systems = Array.from({ length: 6 }, () => fresh(random, 2000))
  const engines = Array.from({ length: REPLICAS }, (_, i) => {
    const engine = { ...setup.engine, ...setup.replicas?.[i] }
    return i < prefillers ? engine : { ...engine, prefillBaseMs: 4, prefillMsPerToken: 0.005 }
  })
  const arrivals = poisson(random, duration, 12 / setup.pace, at => ({
    at,
    model: BASE_MODEL,
    prompt: joined(systems[random.between(0, 5)]!, fresh(random, random.between(200, 1400))),
    outputTokens: random.between(60, 140),
  }))
  return { name: 'disaggregated', title: 'prefill and decode apart, 2 + 4', arrivals, engines, prefillers }
}

/** The answer that the simulated model gives: later turns contain it, so that both sides must know it. */
export function answerToken(prompt: Uint32Array, index: number): number {
  return (Math.imul(prompt.at(-1)! ^ (index + 1), 0x9e3779b1) >>> 0) % 0x7fffffff
}

function answer(prompt: Uint32Array, length: number): Uint32Array {
  return Uint32Array.from({ length }, (_, index) => answerToken(prompt, index))
}

function fresh(random: Random, length: number): Uint32Array {
  return Uint32Array.from({ length }, () => random.between(0, 0x7ffffffe))
}

function joined(a: Uint32Array, b: Uint32Array): Uint32Array {
  const both = new Uint32Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

function poisson(random: Random, duration: number, perSecond: number, make: (at: number) => Arrival): Arrival[] {
  const arrivals: Arrival[] = []
  const mean = 1000 / perSecond
  for (let at = exponential(random, mean); at < duration; at += exponential(random, mean)) arrivals.push(make(at))
  return arrivals
}

function inOrder(arrivals: Arrival[]): Arrival[] {
  return arrivals.sort((a, b) => a.at - b.at)
}

function exponential(random: Random, mean: number): number {
  return -Math.log(1 - random.next()) * mean
}

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next())
}

/** 0 … count − 1, the first as often as the second and third together … */
function zipf(random: Random, count: number): number {
  let sum = 0
  for (let rank = 1; rank <= count; rank++) sum += 1 / rank
  let at = random.next() * sum
  for (let rank = 1; rank < count; rank++) {
    at -= 1 / rank
    if (at < 0) return rank - 1
  }
  return count - 1
}
