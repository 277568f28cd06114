import type { FlowOutcome } from './flow-outcome.ts'

/** What a request says of how it may wait. */
export interface FlowRequest {
  readonly priority: number
  /** Who it belongs to. */
  readonly fairnessId: string
  /** Of its body, as far as that is known: what counts against caps in bytes. */
  readonly bytes: number
  /** Its own deadline, ms from its arrival; infinite where it has none. */
  readonly timeoutMs: number
  /** The time to its first token that it can live with, ms; infinite where it did not say. */
  readonly ttftTargetMs: number
}

/** A request that waits in a queue. Nothing of it is copied: whoever makes it keeps what is needed to go on. */
export abstract class FlowEntry implements FlowRequest {
  readonly priority: number
  readonly fairnessId: string
  readonly bytes: number
  readonly timeoutMs: number
  readonly ttftTargetMs: number

  // Written by the queues.
  /** When it came, ms of the flow's monotonic clock. */
  arrivedAt = 0
  /** Of two with the same key, the one that came first goes first. */
  sequence = 0
  /** Order in its flow: the smallest goes first. */
  key = 0
  /** Its place in a heap; −1 = it waits nowhere. */
  place = -1
  /** The pool had no endpoint at some time while it waited. */
  sawNoEndpoint = false

  constructor(request: FlowRequest) {
    this.priority = request.priority
    this.fairnessId = request.fairnessId
    this.bytes = request.bytes
    this.timeoutMs = request.timeoutMs
    this.ttftTargetMs = request.ttftTargetMs
  }

  /** It may go now. Called from the event loop, not from within anything else. */
  abstract dispatched(): void
  /** It must not wait any longer. */
  abstract refused(outcome: FlowOutcome): void
}
