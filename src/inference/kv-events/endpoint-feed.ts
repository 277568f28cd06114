/**
 * Follows one engine's events: subscribes, connects anew when the connection is lost, and sees by the sequence numbers what was missed. A
 * gap is filled from the engine's replay socket where it has one; if that fails, what is known of the engine is void, and what comes is left out
 * until a whole replay succeeds, at the earliest after a pause. Without a replay socket a gap makes what is known doubtful: engines do not tell
 * again of blocks that they kept, so hot ones stay as long as something is told of them or of blocks after them, and the rest ages out. A number below the last one
 * is another life of the engine, with an empty cache.
 *
 * A long batch is applied in turns (./turns.ts), and so are those that waited for a replay. Meanwhile nothing more is taken from the socket
 * that it came from: what the engine sends waits in TCP, and beyond that at the engine, which then leaves some out.
 */
import type { Buffer } from 'node:buffer'
import { Doubt, type Doubted } from './doubt.ts'
import { BatchApplier } from './batch-applier.ts'
import type { KvEventSink } from './event-batch.ts'
import type { FeedCounts } from './feed-counts.ts'
import type { FeedTimes } from './feed-times.ts'
import { MsgpackError } from './msgpack-reader.ts'
import { type PendingBatch, PendingBatches, type PendingTotal } from './pending-batches.ts'
import { Replay } from './replay.ts'
import type { ReplayLimiter } from './replay-limiter.ts'
import { readSequence } from './sequence-number.ts'
import type { Turns } from './turns.ts'
import { ZmtpConnection } from './zmtp/zmtp-connection.ts'

interface FeedTarget extends Pick<KvEventSink, 'stored' | 'removed' | 'sweep'>, Doubted {
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
  /** Of all feeds together. */
  readonly turns: Turns
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
  readonly #applier: BatchApplier
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
  /** What the engine told before we came, or while we were away, is asked for next. */
  #asks = false
  #stopped = false

  constructor(options: EndpointFeedOptions) {
    this.#options = options
    const { target, counts, times, turns, pendingTotal, maxPendingBytes = MAX_PENDING_BYTES } = options
    this.#doubt = new Doubt(target, times.doubtMs)
    this.#pending = new PendingBatches(pendingTotal, maxPendingBytes)
    const sink: KvEventSink = {
      stored: event => target.stored(event),
      removed: event => target.removed(event),
      cleared: () => target.clear(),
      sweep: () => target.sweep(),
      skipped: () => counts.skippedEvents++,
    }
    this.#applier = new BatchApplier(turns, sink, error => this.#applied(error))
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
    this.#applier.cancel()
    this.#pending.clear()
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
        this.#asks = !this.#isReplaying
        this.#goOn()
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
      this.#pending.clear()
      this.#void()
      clearTimeout(this.#pause)
      this.#pause = undefined
    }
    this.#lastLive = sequence
    this.#take({ sequence, payload: frames[2]! })
  }

  get #isReplaying(): boolean {
    return this.#replay !== undefined || this.#leave !== undefined
  }

  /** From the socket, which is held while a batch from it is applied. */
  #take(batch: PendingBatch): void {
    if (this.#isReplaying || this.#mustReplay(batch)) {
      if (!this.#pending.push(batch)) {
        this.#options.counts.dropped++
        this.#replayed(new Error('no room for what waits'))
      } else if (!this.#isReplaying) this.#askMissing()
      return
    }
    this.#takeNow(batch)
    if (this.#applier.busy) this.#connection?.hold()
  }

  /** Number of the batch that comes next. */
  get #expected(): number {
    return this.#last === undefined ? 0 : this.#last + 1
  }

  /** Whether a replay can tell what is missing before it. */
  #mustReplay({ sequence }: PendingBatch): boolean {
    return sequence > this.#expected && this.#options.replayPort !== 0 && this.#pause === undefined
  }

  #takeNow({ sequence, payload }: PendingBatch): void {
    const { counts, replayPort } = this.#options
    if (sequence < this.#expected) return
    if (sequence > this.#expected) {
      if (this.#last !== undefined) counts.gaps++
      if (replayPort !== 0) {
        counts.dropped++
        return
      }
      if (this.#last !== undefined) this.#doubt.begin()
    }
    this.#apply(sequence, payload)
  }

  #apply(sequence: number, payload: Buffer): void {
    this.#last = sequence
    this.#options.counts.batches++
    this.#applier.apply(payload)
  }

  #applied(error: Error | undefined): void {
    // What it has told before the fault is true.
    if (error instanceof MsgpackError) this.#options.counts.malformed++
    else if (error !== undefined) this.#connection?.fail(error)
    this.#replay?.release()
    this.#goOn()
  }

  /** With what waits, then with the socket. */
  #goOn(): void {
    while (!this.#applier.busy && !this.#isReplaying && !this.#stopped) {
      const batch = this.#pending.first
      if (batch === undefined) {
        if (!this.#asks) break
        this.#asks = false
        this.#askFrom(this.#expected)
      } else if (this.#mustReplay(batch)) this.#askMissing()
      else {
        this.#pending.shift()
        this.#takeNow(batch)
      }
    }
    if (this.#applier.busy && !this.#isReplaying) this.#connection?.hold()
    else this.#connection?.release()
  }

  /** Nothing is known of the engine any more. */
  #void(): void {
    this.#applier.cancel()
    this.#options.target.clear()
    this.#last = undefined
  }

  /** What lies between the newest batch and the first that waits. */
  #askMissing(): void {
    if (this.#last !== undefined) this.#options.counts.gaps++
    this.#askFrom(this.#expected)
  }

  #askFrom(from: number): void {
    const { host, replayPort, times, limiter, counts } = this.#options
    if (replayPort === 0 || this.#pause !== undefined || this.#leave !== undefined || this.#stopped) return
    let expected = from
    let first = true
    let leave: (() => void) | undefined
    const begin = () => {
      counts.replays++
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
          if (this.#applier.busy) this.#replay?.hold()
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
    if (error !== undefined) {
      counts.failedReplays++
      counts.dropped += this.#pending.clear()
      this.#void()
      this.#pause = setTimeout(() => {
        this.#pause = undefined
        this.#asks = this.connected
        this.#goOn()
      }, times.replayPauseMs)
    }
    this.#goOn()
  }
}
