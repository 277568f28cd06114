import type { EndpointTable } from './endpoint-table.ts'
import type { PoolGate } from './flow-control/pool-gate.ts'
import type { PickResult } from './pick.ts'

/** What a pick has counted at endpoints, from the pick on: it moves with a retry, and falls again when what it stands for is over. */
export class PoolInFlight {
  readonly #table: EndpointTable
  readonly #gate: PoolGate
  /** Several endpoints are ranks behind one address. */
  hasRanks = false

  constructor(table: EndpointTable, gate: PoolGate) {
    this.#table = table
    this.#gate = gate
  }

  /** The request's own replica has computed its prompt: those of its tokens are not in flight any more. */
  releasePrompt(result: PickResult): void {
    const tokens = result.tokens - result.answerTokens
    if (tokens <= 0) return
    this.#table.releaseTokens(result.slots[0]!, result.generations[0]!, tokens)
    result.tokens = result.answerTokens
  }

  /** The response to a picked request has ended. Counts only where `releaseBy` is `response`. */
  release(slot: number, generation: number, tokens?: number): void {
    if (this.#table.releaseBy !== 'response') return
    this.#table.release(slot, generation, tokens)
    this.#gate.freed()
  }

  /**
   * The data plane says that `address` serves the request of this pick: after a retry not the first of the list. The count moves
   * there, unless an access log entry will release it where it was picked (`logged`). Returns whether it was another endpoint; one
   * that the pool does not have is ignored.
   */
  served(result: PickResult, address: string, logged = true, nowMs = Date.now()): boolean {
    const table = this.#table
    // The address is that of the replica, whichever rank of it serves.
    if (this.hasRanks) return false
    const slot = table.slotOf(address)
    if (slot !== undefined) this.#noteServed(result, slot, nowMs)
    if (slot === undefined || slot === result.slots[0] || result.count === 0) return false
    if (table.releaseBy === 'response' || (table.releaseBy === 'access-log' && !logged)) {
      table.unplace(result.slots[0]!, result.generations[0]!, result.tokens)
      table.place(slot, result.tokens)
    }
    result.slots[0] = slot
    result.generations[0] = table.generation[slot]!
    return true
  }

  /** Those of the list before the one that serves did not answer: they are avoided for a while. */
  #noteServed({ slots, generations, count }: PickResult, served: number, nowMs: number): void {
    const table = this.#table
    table.counters.answered(served)
    for (let place = 0; place < count && slots[place] !== served; place++) {
      const slot = slots[place]!
      if (table.currentGeneration[slot] === generations[place]) table.counters.missed(slot, nowMs)
    }
  }

  /**
   * A picked request of which no access log entry will tell: its decision was never sent, or a gateway carried it that is not ours
   * and its response has ended. Counts unless scrapes release.
   */
  releaseUnlogged(slot: number, generation: number, tokens?: number): void {
    this.#table.release(slot, generation, tokens)
    this.#gate.freed()
  }

  /** The request's end will not be seen: the count falls with the first good scrape that begins once it has had time to arrive. */
  releaseOnceSeen(slot: number, generation: number): void {
    this.#table.releaseOnceSeen(slot, generation)
  }

  /** Another replica has done its part of a request. */
  releaseStage(slot: number, generation: number, tokens: number): void {
    this.#table.unplace(slot, generation, tokens)
    this.#gate.freed()
  }

  /** … and when it will have, nobody will tell. */
  releaseStageOnceSeen(slot: number, generation: number): void {
    this.#table.unplaceOnceSeen(slot, generation)
  }
}
