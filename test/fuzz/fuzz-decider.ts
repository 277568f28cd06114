/** A decider for fuzzed exchanges: decides when it was told to, and checks what it is told. */
import type { IncomingMessage } from '../../src/extproc/decode-request.ts'
import { type Decider, Refusal, Verdict } from '../../src/extproc/decider.ts'
import type { Exchange } from '../../src/extproc/exchange.ts'
import { Finding } from './target.ts'

/** When a decision is made. `deferred`: asked for with the headers, made when `resume` is called. */
type DecidesAt = 'headers' | 'deferred' | 'bytes' | 'end'

export interface DeciderPlan {
  readonly at: DecidesAt
  /** For `bytes`: that many of the body. */
  readonly bytes: number
  readonly immediate: boolean
  readonly followsResponse: boolean
  readonly mayRewrite: boolean
  readonly retryBufferBytes: number
  readonly maxBodyBytes: number
}

/** Where `mayRewrite` edits: the second byte becomes these. */
export const EDIT = { start: 1, end: 2, bytes: Buffer.from('<edited>') } as const

export class FuzzDecider implements Decider {
  readonly messageTimeoutMs = 1000
  readonly uploadTimeoutMs = 10_000
  readonly uploadIdleMs = 10_000
  readonly maxBodyBytes: number
  readonly followsResponse: boolean
  readonly mayRewrite: boolean
  readonly retryBufferBytes: number
  readonly #plan: DeciderPlan
  #exchange: Exchange | undefined
  #serial = 0
  #seen = 0
  #over = false

  constructor(plan: DeciderPlan) {
    this.#plan = plan
    this.maxBodyBytes = plan.maxBodyBytes
    this.followsResponse = plan.followsResponse
    this.mayRewrite = plan.mayRewrite
    this.retryBufferBytes = plan.retryBufferBytes
  }

  get closedOnce(): boolean {
    return this.#over
  }

  /** The deferred decision comes. */
  resume(): void {
    if (this.#exchange === undefined || this.#plan.at !== 'deferred' || this.#over) return
    if (this.#exchange.serial === this.#serial) this.#decide(this.#exchange)
    this.#exchange.resume(this.#serial)
    this.#exchange = undefined
  }

  requestHeaders(exchange: Exchange, _message: IncomingMessage, bodyComes: boolean): Verdict {
    this.#live()
    const { at } = this.#plan
    if (at === 'deferred') {
      this.#exchange = exchange
      this.#serial = exchange.serial
      return Verdict.DEFERRED
    }
    return at === 'headers' || !bodyComes ? this.#decide(exchange) : Verdict.MORE
  }

  requestMetadata(): void {
    this.#live()
  }

  requestBody(exchange: Exchange, bytes: Buffer, start: number, end: number): Verdict {
    this.#live()
    if (start > end || end > bytes.length) throw new Finding(`a piece [${start}, ${end}) of ${bytes.length} bytes`)
    this.#seen += end - start
    return this.#plan.at === 'bytes' && this.#seen >= this.#plan.bytes ? this.#decide(exchange) : Verdict.MORE
  }

  requestEnd(exchange: Exchange): Verdict {
    this.#live()
    return this.#decide(exchange)
  }

  refuse(exchange: Exchange, refusal: Refusal): void {
    this.#live()
    exchange.decision.clear()
    exchange.decision.immediateStatus = refusal === Refusal.BODY_TOO_LARGE ? 413 : 503
  }

  responseHeaders(): void {
    this.#live()
  }

  responseEnd(): void {
    this.#live()
  }

  closed(): void {
    this.#live()
    this.#over = true
  }

  #decide({ decision }: Exchange): Verdict {
    if (this.#plan.immediate) {
      decision.immediateStatus = 403
      decision.immediateBody = Buffer.from('no')
    } else {
      decision.set('x-decided', this.#plan.at)
      decision.clearRouteCache = true
      if (this.#plan.mayRewrite) decision.replacements.push(EDIT)
    }
    return Verdict.DECIDED
  }

  #live(): void {
    if (this.#over) throw new Finding('called after closed')
  }
}
