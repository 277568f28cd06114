/** ms */
export interface FeedTimes {
  readonly retryMs: number
  readonly handshakeMs: number
  readonly heartbeatMs: number
  readonly replayMs: number
  readonly replayIdleMs: number
  readonly replayPauseMs: number
  /** How long doubtful blocks are believed after a gap without a replay. */
  readonly doubtMs: number
}

export const FEED_TIMES: FeedTimes = {
  retryMs: 5000,
  handshakeMs: 5000,
  heartbeatMs: 15_000,
  replayMs: 60_000,
  replayIdleMs: 2000,
  replayPauseMs: 30_000,
  doubtMs: 600_000,
}
