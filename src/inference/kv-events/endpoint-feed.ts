/**
 * Follows one engine's events: subscribes, connects anew when the connection is lost, and sees by the sequence numbers what was missed. A
 * gap is filled from the engine's replay socket where it has one; if that fails, what is known of the engine is void, and what comes is left out
 * until a whole replay succeeds, at the earliest after a pause. Without a replay socket a gap makes what is known doubtful: engines do not tell
 * again of blocks that they kept, so hot ones stay as long as something is told of them or of blocks after them, and the rest ages out. A number below the last one
 * is another life of the engine, with an empty cache.
 */
import type { Buffer } from 'node:buffer'
import { Doubt, type Doubted } from './doubt.ts'
import { EventBatchParser, type KvEventSink } from './event-batch.ts'
import { MsgpackError } from './msgpack-reader.ts'
import { type PendingBatch, PendingBatches, type PendingTotal } from './pending-batches.ts'
import { Replay } from './replay.ts'
import type { ReplayLimiter } from './replay-limiter.ts'
import { readSequence } from './sequence-number.ts'
import { ZmtpConnection } from './zmtp/zmtp-connection.ts'

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

interface FeedTarget extends Pick<KvEventSink, 'stored' | 'removed'>, Doubted {
  /** The engine's cache is empty, or unknown. */
  clear(): void
}

export interface EndpointFeedOptions {
  readonly host: string
  readonly port: number
  /** 0: none. */
  readonly replayPort: number
  readonly topicFilter: string
  readonly target: FeedTarget
  readonly counts: FeedCounts
  readonly limiter: ReplayLimiter
  /** Shared by all feeds. */
  readonly pendingTotal: PendingTotal
  /** Of batches that wait for a replay of this engine; beyond it what is known is void, and a later replay has to tell. Default: 16 MiB. */
  readonly maxPendingBytes?: number
  readonly times: FeedTimes
  /** The connection came up, or why it is down. Told when that changes. */
  readonly onChange: (problem: string | undefined) => void
}

/** Of batches that wait for a replay. */
const MAX_PENDING_BYTES = 16 * 1024 * 1024

export class EndpointFeed {
  readonly #options: EndpointFeedOptions
  readonly #parser = new EventBatchParser()
  readonly #sink: KvEventSink
  #connection: ZmtpConnection | undefined
  #retry: NodeJS.Timeout | undefined
  #problem: string | undefined = 'not connected yet'
  /** The newest number that was taken, and that came from the socket. */
  #last: number | undefined
  #lastLive: number | undefined
  #replay: Replay | undefined
  #leave: (() => void) | undefined
  readonly #pending: PendingBatches
  /** No replay before it fires. */
  #pause: NodeJS.Timeout | undefined
  readonly #doubt: Doubt
  #stopped = false

  constructor(options: EndpointFeedOptions) {
    this.#options = options
    const { target, counts, times, pendingTotal, maxPendingBytes = MAX_PENDING_BYTES } = options
    this.#doubt = new Doubt(target, times.doubtMs)
    this.#pending = new PendingBatches(pendingTotal, maxPendingBytes)
    this.#sink = {
      stored: event => target.stored(event),
      removed: event => target.removed(event),
      cleared: () => target.clear(),
      skipped: () => counts.skippedEvents++,
    }
    this.#connect()
  }

  get connected(): boolean {
    return this.#problem === undefined
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#retry)
    this.#connection?.close()
    this.#endReplay()
    clearTimeout(this.#pause)
    this.#doubt.stop()
    this.#pending.take()
  }

  #connect(): void {
    const { host, port, topicFilter, times, counts } = this.#options
    this.#connection = new ZmtpConnection({
      host,
      port,
      type: 'SUB',
      topics: [topicFilter],
      handshakeMs: times.handshakeMs,
      heartbeatMs: times.heartbeatMs,
      onReady: () => {
        this.#tell(undefined)
        // What the engine told before we came, or while we were away.
        if (this.#last === undefined) this.#askFrom(0)
        else this.#askFrom(this.#last + 1)
      },
      onMessage: frames => this.#message(frames),
      onClosed: error => {
        this.#tell(error.message)
        counts.reconnects++
        this.#retry = setTimeout(() => this.#connect(), times.retryMs)
      },
    })
  }

  #tell(problem: string | undefined): void {
    if (problem === this.#problem) return
    this.#problem = problem
    this.#options.onChange(problem)
  }

  #message(frames: readonly Buffer[]): void {
    const { counts } = this.#options
    const sequence = frames.length === 3 ? readSequence(frames[1]) : undefined
    if (sequence === undefined) {
      counts.malformed++
      return
    }
    if (this.#lastLive !== undefined && sequence < this.#lastLive) {
      counts.resets++
      this.#endReplay()
      this.#pending.take()
      this.#void()
      clearTimeout(this.#pause)
      this.#pause = undefined
    }
    this.#lastLive = sequence
    this.#take({ sequence, payload: frames[2]! })
  }

  #take(batch: PendingBatch): void {
    const { counts, replayPort } = this.#options
    const { sequence, payload } = batch
    if (this.#replay !== undefined || this.#leave !== undefined) {
      if (this.#pending.push(batch)) return
      counts.dropped++
      this.#replayed(new Error('too much to keep while it lasts'))
      return
    }
    if (this.#last !== undefined && sequence <= this.#last) return
    const expected = this.#last === undefined ? 0 : this.#last + 1
    if (sequence !== expected) {
      if (this.#last !== undefined) counts.gaps++
      if (replayPort !== 0) {
        if (this.#pause !== undefined) {
          counts.dropped++
          return
        }
        if (!this.#pending.push(batch)) {
          counts.dropped++
          this.#replayed(new Error('no room for what waits'))
          return
        }
        this.#askFrom(expected)
        return
      }
      if (this.#last !== undefined) this.#doubt.begin()
    }
    this.#apply(sequence, payload)
  }

  #apply(sequence: number, payload: Buffer): void {
    const { counts } = this.#options
    this.#last = sequence
    counts.batches++
    try {
      this.#parser.parse(payload, this.#sink)
    } catch (error) {
      if (!(error instanceof MsgpackError)) throw error
      // What it has told before the fault is true.
      counts.malformed++
    }
  }

  /** Nothing is known of the engine any more. */
  #void(): void {
    this.#options.target.clear()
    this.#last = undefined
  }

  #askFrom(from: number): void {
    const { host, replayPort, times, limiter } = this.#options
    if (replayPort === 0 || this.#pause !== undefined || this.#leave !== undefined || this.#stopped) return
    let expected = from
    let first = true
    let leave: (() => void) | undefined
    const begin = () => {
      this.#options.counts.replays++
      this.#replay = new Replay({
        host,
        port: replayPort,
        from,
        timeoutMs: times.replayMs,
        idleMs: times.replayIdleMs,
        onEvents: (sequence, payload) => {
          if (first && sequence > expected) {
            // The engine has forgotten what it removed in between.
            this.#void()
            expected = sequence
          }
          first = false
          if (sequence !== expected) throw new Error(`the replay has ${sequence} where ${expected} should be`)
          expected++
          this.#apply(sequence, payload)
        },
        onEnd: error => this.#replayed(error ?? this.#missing(from, first)),
      })
    }
    // It may begin at once, and `#leave` must be there before anything ends.
    this.#leave = () => leave?.()
    leave = limiter.enter(host, begin)
  }

  /** A replay that ends without what a waiting batch lacks. */
  #missing(from: number, empty: boolean): Error | undefined {
    const waiting = this.#pending.first
    return empty && waiting !== undefined && waiting.sequence > from ? new Error(`${from} is not kept`) : undefined
  }

  #endReplay(): void {
    this.#replay?.close()
    this.#replay = undefined
    const leave = this.#leave
    this.#leave = undefined
    leave?.()
  }

  #replayed(error: Error | undefined): void {
    const { counts, times } = this.#options
    this.#endReplay()
    const pending = this.#pending.take()
    if (error !== undefined) {
      counts.failedReplays++
      counts.dropped += pending.length
      this.#void()
      this.#pause = setTimeout(() => {
        this.#pause = undefined
        if (this.connected) this.#askFrom(0)
      }, times.replayPauseMs)
      return
    }
    for (const batch of pending) this.#take(batch)
  }
}
