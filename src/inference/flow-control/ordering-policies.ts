/** The order of the requests of one flow (epp.md §3.10): a number per request, the smallest goes first. Times in ms. */
import type { FlowEntry } from './flow-entry.ts'

/** `ttlMs`: the longest wait, 0 = none. */
export type OrderingPolicy = (entry: FlowEntry, ttlMs: number) => number

/** First come, first served. */
const firstCome: OrderingPolicy = () => 0

/** Whose time in the queue ends first. */
const earliestDeadline: OrderingPolicy = ({ arrivedAt, timeoutMs }, ttlMs) =>
  arrivedAt + Math.min(timeoutMs, ttlMs > 0 ? ttlMs : Number.POSITIVE_INFINITY)

/** Who must see a first token soonest; those that did not say come last. */
const sloDeadline: OrderingPolicy = ({ arrivedAt, ttftTargetMs }) => arrivedAt + ttftTargetMs

export const ORDERING_POLICIES: Readonly<Record<string, OrderingPolicy>> = {
  'fcfs-ordering-policy': firstCome,
  'edf-ordering-policy': earliestDeadline,
  'slo-deadline-ordering-policy': sloDeadline,
}
