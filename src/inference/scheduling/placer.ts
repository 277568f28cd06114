import { Step } from '../pick-times.ts'
import type { EndpointTable } from '../endpoint-table.ts'
import { MAX_ENDPOINTS, type PickRequest, PickStatus, type Placement } from '../pick.ts'
import type { Candidates } from './candidates.ts'
import type { Producers } from './producers.ts'
import type { Profile } from './profile.ts'
import { Random } from './random.ts'

/** Puts saturated endpoints behind all others. */
const SATURATED_PENALTY = 1e6

/** Runs one scheduling profile over candidates: filters, scores, picks. */
export class Placer {
  readonly #table: EndpointTable
  readonly #random: Random
  #maxQueue = 0
  #total = new Float64Array(0)
  readonly #picked = new Int32Array(MAX_ENDPOINTS)

  constructor(table: EndpointTable, seed: number) {
    this.#table = table
    this.#random = new Random(seed)
  }

  /** @param maxQueue requests that wait at an endpoint that is saturated, 0 = any number may. */
  adopt(maxQueue: number): void {
    this.#maxQueue = maxQueue
    this.#total = new Float64Array(this.#table.capacity)
  }

  /** No count rises. `out` is only valid with OK. */
  place(
    profile: Profile,
    producers: Producers,
    request: PickRequest,
    candidates: Candidates,
    out: Placement,
  ): PickStatus {
    const table = this.#table
    const { record, times } = request
    if (record !== undefined) record.begin(candidates, table)
    if (times !== undefined) times.begin(profile.name, candidates.count)
    profile.filter(candidates, table, times)
    const { count } = candidates
    if (times !== undefined) times.filtered(count)
    if (count === 0) return PickStatus.FILTERED
    const total = this.#total
    profile.rank(candidates, table, total, times)
    if (record !== undefined) record.ranked(profile, candidates, table, total)
    if (this.#maxQueue > 0 && this.#setSaturatedBack(candidates)) return PickStatus.SATURATED

    const picked = this.#picked
    out.count = profile.pick(total, count, profile.maxEndpoints, this.#random, picked, out.scores)
    if (times !== undefined) times.lap(Step.PICKER, profile.pickerType)
    for (let place = 0; place < out.count; place++) {
      const slot = candidates.slots[picked[place]!]!
      out.slots[place] = slot
      out.generations[place] = table.generation[slot]!
    }
    const choice = picked[0]!
    out.reason = count === 1 ? 'only-endpoint' : profile.reason(choice)
    out.tokens = producers.tokensOf(candidates, choice)
    out.answerTokens = producers.answerTokensOf(candidates)
    if (record !== undefined) record.picked(out, table)
    profile.chosen(candidates, table, choice)
    producers.chosen(candidates, table, choice)
    return PickStatus.OK
  }

  /** Puts endpoints with a full queue last. True when all are full. */
  #setSaturatedBack({ count, waiting, unseen }: Candidates): boolean {
    const maxQueue = this.#maxQueue
    const total = this.#total
    let saturated = 0
    for (let i = 0; i < count; i++) {
      // Where requests wait, those that no scrape has seen wait too; elsewhere they may just run.
      if (waiting[i] === 0 || waiting[i]! + unseen[i]! < maxQueue) continue
      saturated++
      total[i]! -= SATURATED_PENALTY
    }
    return saturated === count
  }
}
