/** What the metrics remember of one request while it is under way; part of its `Call`, and used again with it. Times as `performance.now()`. */
export class Measured {
  /** Its requests series was counted; it was sent on. */
  counted = false
  routed = false
  /** `model_name`, `target_model_name`, `fairness_id`, `priority` */
  labels: readonly [string, string, string, string] = NONE
  /** The first three of these, as the client gave them. */
  model = ''
  target = ''
  fairnessId = ''
  /** Cells that fall again when it is over; −1 = none did rise. */
  running = -1
  inFlight = -1
  inFlightTokens = -1
  tokens = 0
  queued = -1
  queuedBytes = -1
  bytesQueued = 0
  /** When it came to a queue, 0 = it stands in none; and of which pool. */
  queuedAt = 0
  pool = ''

  /** The response: when its headers came, its body began, and when its latest chunk came; 0 = not yet. */
  headersAt = 0
  firstAt = 0
  chunkAt = 0
  streams = false
  /** Its body passes us by, or nothing wants to read it. */
  unread = true
  over = false
  bytes = 0
  /** `content-length` of the response; −1 = unknown. */
  length = -1
  /** What we have spent on it, ms. */
  workMs = 0
  /** When the request came. */
  startedAt = 0

  clear(): void {
    this.counted = false
    this.routed = false
    this.labels = NONE
    this.model = ''
    this.target = ''
    this.fairnessId = ''
    this.running = -1
    this.inFlight = -1
    this.inFlightTokens = -1
    this.tokens = 0
    this.queued = -1
    this.queuedBytes = -1
    this.bytesQueued = 0
    this.queuedAt = 0
    this.pool = ''
    this.headersAt = 0
    this.firstAt = 0
    this.chunkAt = 0
    this.streams = false
    this.unread = true
    this.over = false
    this.bytes = 0
    this.length = -1
    this.workMs = 0
    this.startedAt = 0
  }
}

const NONE = ['', '', '', ''] as const
