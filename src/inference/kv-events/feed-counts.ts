/** Since the start; of several feeds together where they share one. */
export class FeedCounts {
  /** Taken, from socket and replays. */
  batches = 0
  /** That could not be read, wholly or in parts. */
  malformed = 0
  skippedEvents = 0
  /** Breaks in the numbers, and new lives. */
  gaps = 0
  resets = 0
  replays = 0
  failedReplays = 0
  /** Batches left out. */
  dropped = 0
  reconnects = 0
}
