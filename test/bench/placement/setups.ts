/** The engines that the placement benchmark runs its workloads on. */
import type { EngineOptions } from '../../../src/sim/engine.ts'

export interface Setup {
  readonly name: string
  readonly title: string
  readonly engine: EngineOptions
  /** By replica, where they differ from `engine`. */
  readonly replicas?: readonly Partial<EngineOptions>[]
  /** Arrivals come this much more slowly than in the tuned setup: as much as the engines are slower, or so. */
  readonly pace: number
}

/** A replica: eight sequences at once, 96k tokens of cache; a prompt of 8k tokens takes 0.9 s, an answer of 100 tokens 2 s. */
const ENGINE: EngineOptions = {
  maxNumSeqs: 8,
  maxNumBatchedTokens: 2048,
  blockSize: 16,
  numGpuBlocks: 6144,
  maxLoras: 4,
  loraLoadMs: 250,
  prefillBaseMs: 15,
  prefillMsPerToken: 0.1,
  decodeMs: 18,
  decodeGrowth: 0.02,
}

/** The one that constants were chosen on. */
export const TUNED: Setup = { name: 'tuned', title: 'tuned', engine: ENGINE, pace: 1 }

/** Slower by a factor in everything, with a smaller cache. */
const old = (factor: number): Partial<EngineOptions> => ({
  prefillBaseMs: ENGINE.prefillBaseMs * factor,
  prefillMsPerToken: ENGINE.prefillMsPerToken * factor,
  decodeMs: ENGINE.decodeMs * factor,
  numGpuBlocks: 2048,
})

/** Never looked at while constants were chosen, nor are their seeds. */
export const HOLD_OUT: readonly Setup[] = [
  {
    name: 'fast-prefill',
    title: 'prefill at 0.04 ms a token',
    engine: { ...ENGINE, prefillMsPerToken: 0.04, prefillBaseMs: 8 },
    pace: 0.9,
  },
  {
    name: 'slow-prefill',
    title: 'prefill at 0.25 ms a token',
    engine: { ...ENGINE, prefillMsPerToken: 0.25, prefillBaseMs: 25 },
    pace: 2,
  },
  {
    name: 'large-model',
    title: 'a model ten times as slow',
    engine: { ...ENGINE, prefillMsPerToken: 1, prefillBaseMs: 150, decodeMs: 180, loraLoadMs: 1000 },
    pace: 10,
  },
  {
    name: 'large-batches',
    title: 'batches of 32',
    engine: { ...ENGINE, maxNumSeqs: 32, numGpuBlocks: 16_384, decodeMs: 22, decodeGrowth: 0.015 },
    pace: 0.7,
  },
  {
    name: 'mixed-cards',
    title: 'a half of slow replicas with small caches',
    engine: ENGINE,
    replicas: [{}, old(2), {}, old(2), {}, old(2)],
    pace: 1.4,
  },
]
