/** For the tests of plug-ins. */
import { HeaderView } from '../../../extproc/header-view.ts'
import type { Candidates } from '../candidates.ts'
import type { Scorer } from '../scorer.ts'
import { type CandidateFacts, scores, situation } from '../testing.ts'
import { createFilter, createPluginScorer } from './registry.ts'

export function headersOf(headers: Readonly<Record<string, string>>): HeaderView {
  const view = new HeaderView()
  const pieces: Buffer[] = []
  let at = 0
  for (const [name, value] of Object.entries(headers)) {
    const [key, text] = [Buffer.from(name), Buffer.from(value)]
    view.add(at, at + key.length, at + key.length, at + key.length + text.length)
    pieces.push(key, text)
    at += key.length + text.length
  }
  view.bytes = Buffer.concat(pieces)
  return view
}

/** What is known of a request beside its headers. */
export type RequestFacts = Partial<Pick<Candidates, 'promptTokens' | 'prefixBytes' | 'peer'>>

/** A scorer, and the endpoints that it goes on scoring. */
export class ScorerPlay {
  readonly scorer: Scorer
  readonly #situation: ReturnType<typeof situation>

  constructor(type: string, parameters: Readonly<Record<string, unknown>>, facts: readonly CandidateFacts[]) {
    this.scorer = createPluginScorer({ type, parameters })
    this.#situation = situation(facts)
    const { table } = this.#situation
    this.scorer.adopt?.(table)
    this.scorer.attach?.(new Int32Array(this.scorer.sharedWords?.(table.capacity) ?? 0))
  }

  scores(request: { headers?: Readonly<Record<string, string>>; prefix?: readonly number[]; nowMs?: number } = {}) {
    const { candidates } = this.#situation
    candidates.headers = headersOf(request.headers ?? {})
    candidates.nowMs = request.nowMs ?? 1000
    if (request.prefix !== undefined) candidates.prefix.set(request.prefix)
    return scores(this.scorer, this.#situation)
  }

  pick(candidate: number): void {
    this.scorer.chosen?.(this.#situation.candidates, this.#situation.table, candidate)
  }

  request(facts: RequestFacts): this {
    Object.assign(this.#situation.candidates, facts)
    return this
  }

  prefixBytes(bytes: number): this {
    this.#situation.candidates.prefixBytes = bytes
    return this
  }
}

/** The scores that a plug-in gives to endpoints in this state. */
export function pluginScores(
  type: string,
  parameters: Readonly<Record<string, unknown>>,
  facts: readonly CandidateFacts[],
  headers: Readonly<Record<string, string>> = {},
  request: RequestFacts = {},
): number[] {
  return new ScorerPlay(type, parameters, facts).request(request).scores({ headers })
}

/** The numbers of the endpoints in this state that a filter keeps. */
export function keptBy(
  type: string,
  parameters: Readonly<Record<string, unknown>>,
  facts: readonly CandidateFacts[],
  headers: Readonly<Record<string, string>> = {},
  nowMs = 1000,
  request: RequestFacts = {},
): number[] {
  const filter = createFilter({ type, parameters })
  const { candidates, table } = situation(facts)
  Object.assign(candidates, request)
  candidates.headers = headersOf(headers)
  candidates.nowMs = nowMs
  filter.adopt?.(table)
  const kept = new Uint8Array(table.capacity)
  filter.filter(candidates, table, kept)
  candidates.keep(kept)
  return [...candidates.slots.subarray(0, candidates.count)]
}
