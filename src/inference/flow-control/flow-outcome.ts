/** What becomes of a request that came to a queue, by the names that metrics have (epp.md §5.1, `flow_control_requests_total`). */
export const FlowOutcome = {
  DISPATCHED: 0,
  /** The queue was full. */
  REJECTED_CAPACITY: 1,
  REJECTED_NO_ENDPOINTS: 2,
  /** It came while we shut down. */
  REJECTED_OTHER: 3,
  /** It waited as long as it may. */
  EVICTED_TTL: 4,
  /** The same, and the pool has no endpoint; or the pool has gone. */
  EVICTED_NO_ENDPOINTS: 5,
  /** The client has gone. */
  EVICTED_CONTEXT_CANCELLED: 6,
  /** It waited when we shut down. */
  EVICTED_OTHER: 7,
} as const
export type FlowOutcome = (typeof FlowOutcome)[keyof typeof FlowOutcome]

/** By outcome. */
export const FLOW_OUTCOMES = [
  'Dispatched',
  'RejectedCapacity',
  'RejectedNoEndpoints',
  'RejectedOther',
  'EvictedTTL',
  'EvictedNoEndpoints',
  'EvictedContextCancelled',
  'EvictedOther',
] as const
