/**
 * A request that a pool with eviction has sent on, until its response is over (epp.md §3.10). Of priority below 0 it may be called back
 * in favour of one that waits: what a heap holds are those, the first victim first: the lowest priority, and among equals the
 * one that was sent last, which has the least to lose.
 */
export abstract class Lease {
  readonly priority: number

  // Written by the evictor.
  readonly key: number
  sequence = 0
  /** Its place in the heap; −1 = it can't be called back. */
  place = -1
  /** When it was sent, ms of the wall clock. */
  sentAt = 0
  counted = false
  /** Where its revocation stands in shared memory, and as what; 0 = it is not revoked. */
  slot = 0
  word = 0

  /** It was called back. */
  get revoked(): boolean {
    return this.word !== 0
  }

  constructor(priority: number) {
    this.priority = priority
    this.key = priority
  }

  /** It is called back: its stream ends, and whoever sees that ends the lease. Called from the event loop. */
  abstract revoke(): void
}

/** `sheddable-eviction-filter` */
export function isSheddable({ priority }: Lease): boolean {
  return priority < 0
}
