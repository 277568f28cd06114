import type { Exchange } from '../extproc/exchange.ts'
import type { Evictor } from '../inference/flow-control/evictor.ts'
import { Lease } from '../inference/flow-control/lease.ts'
import type { OpenAiProblem } from '../llm/openai-error.ts'
import { evicted } from '../llm/queue-errors.ts'

/** A request that was sent on to a pool with eviction, and whose stream stays open until its response is over. */
export class CallLease extends Lease {
  readonly #evictor: Evictor
  readonly #x: Exchange
  readonly #serial: number
  readonly #drop: (problem: OpenAiProblem) => void

  /** `drop` fills the exchange's decision. */
  constructor(priority: number, evictor: Evictor, x: Exchange, drop: (problem: OpenAiProblem) => void) {
    super(priority)
    this.#evictor = evictor
    this.#x = x
    this.#serial = x.serial
    this.#drop = drop
  }

  /** An endpoint was picked. */
  begin(): void {
    this.#evictor.begin(this)
  }

  /** The response is over, or the stream is. */
  end(): void {
    this.#evictor.end(this)
  }

  revoke(): void {
    this.#x.revoke(this.#serial, () => this.#drop(evicted()))
  }
}
