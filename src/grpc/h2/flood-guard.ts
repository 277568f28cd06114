/**
 * What a peer may make us do without asking for anything: a bucket of tokens that fills with time. Frames that belong to a request are free;
 * so is a reset of a trusted peer, because Envoy ends every ext_proc stream with one.
 */
export const FloodCost = {
  /** DATA without data that ends nothing, PRIORITY, WINDOW_UPDATE that no DATA of ours asked for, an unknown frame, a frame on a closed stream. */
  IDLE_FRAME: 1,
  /** Wants an answer. */
  PING: 2,
  /** Wants an answer. One that changes the windows of open streams costs an IDLE_FRAME for each of them besides. */
  SETTINGS: 20,
  /** A request that was reset, by the peer or because of it: the work for it is lost. */
  RESET: 10,
} as const

export interface FloodLimits {
  /** Tokens at the start, and the most that gather. */
  readonly burst: number
  /** Tokens a second. */
  readonly rate: number
  /** A reset costs nothing. */
  readonly freeResets: boolean
}

/** Gateways that we know. WINDOW_UPDATEs may come with every message, of tens of thousands a second, so that the figures are high. */
export const TRUSTED: FloodLimits = { burst: 1_000_000, rate: 200_000, freeResets: true }
/** Anybody: resets 1,000 at once, then 100 a second. */
export const UNTRUSTED: FloodLimits = { burst: 10_000, rate: 1000, freeResets: false }

export class FloodGuard {
  readonly #limits: FloodLimits
  #tokens: number
  #at: number

  constructor(limits: FloodLimits, now: number) {
    this.#limits = limits
    this.#tokens = limits.burst
    this.#at = now
  }

  /** Takes tokens. False: the peer has had enough. `now`: `performance.now`, only asked for when the bucket is low. */
  spend(cost: number, now: () => number): boolean {
    this.#tokens -= cost
    if (this.#tokens >= 0) return true
    const at = now()
    const { burst, rate } = this.#limits
    this.#tokens = Math.min(burst, this.#tokens + ((at - this.#at) / 1000) * rate)
    this.#at = at
    return this.#tokens >= 0
  }
}
