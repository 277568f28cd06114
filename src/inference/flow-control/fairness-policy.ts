import type { EntryHeap } from './entry-heap.ts'
import type { FlowEntry } from './flow-entry.ts'

/** The requests of one fairness id that wait in a band of one thread. It exists while there are any. */
export interface Flow {
  readonly id: string
  readonly entries: EntryHeap<FlowEntry>
}

/** Chooses which flow of a band goes next. One object a band and thread; told of every change. */
export interface FairnessPolicy {
  /** The flow of requests with this id: policies that do not tell them apart have one for all. */
  flowOf(fairnessId: string): string
  /** A flow has its first request. */
  began(flow: Flow): void
  /** Its last one has gone. */
  ended(flow: Flow): void
  /** The flow whose head goes next. Called only while there is one. */
  next(nowMs: number): Flow
  /** This request of the flow was sent on. */
  served(flow: Flow, entry: FlowEntry, nowMs: number): void
  /** A request of this id has used so many tokens beyond the prompt as it was estimated then; negative: less. */
  used?(id: string, tokens: number, nowMs: number): void
}
