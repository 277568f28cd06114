/**
 * Asks an engine for events that it sent before: a DEALER sends an empty frame and the first sequence number wanted, and gets message
 * after message, each with at least its sequence number and payload as the last two frames; an empty payload ends them.
 */
import { Buffer } from 'node:buffer'
import { readSequence } from './sequence-number.ts'
import { ZmtpConnection } from './zmtp/zmtp-connection.ts'
import { ZmtpError } from './zmtp/greeting.ts'

/** Of a replay that goes on: one that drips must not keep its place. A message counts as some bytes more than it has. */
const MIN_BYTES_PER_S = 16 * 1024
const MESSAGE_BYTES = 128

export interface ReplayOptions {
  readonly host: string
  readonly port: number
  /** First sequence number wanted. */
  readonly from: number
  /** For all of it, and between two messages. ms */
  readonly timeoutMs: number
  readonly idleMs: number
  readonly onEvents: (sequence: number, payload: Buffer) => void
  /** Once, unless `close` was called; with an error when it is not complete. */
  readonly onEnd: (error: Error | undefined) => void
}

export class Replay {
  readonly #options: ReplayOptions
  readonly #connection: ZmtpConnection
  readonly #timer: NodeJS.Timeout
  readonly #rate: NodeJS.Timeout
  #idle: NodeJS.Timeout
  #bytes = 0
  #held = false
  /** It was held since the last look at its rate. */
  #wasHeld = false
  #over = false

  constructor(options: ReplayOptions) {
    this.#options = options
    const { host, port, from, timeoutMs, idleMs } = options
    const start = Buffer.alloc(8)
    start.writeBigUInt64BE(BigInt(from))
    this.#timer = setTimeout(() => this.#end(new ZmtpError(`no end of the replay within ${timeoutMs} ms`)), timeoutMs)
    this.#idle = this.#startIdle()
    this.#rate = setInterval(() => this.#checkRate(), 2 * idleMs)
    this.#connection = new ZmtpConnection({
      host,
      port,
      type: 'DEALER',
      handshakeMs: idleMs,
      heartbeatMs: timeoutMs,
      onReady: () => this.#connection.send([Buffer.alloc(0), start]),
      onMessage: frames => this.#message(frames),
      onClosed: error => this.#end(error),
    })
  }

  /** No more of it for now. Its engine is not to blame for the time that takes, but for the whole. */
  hold(): void {
    if (this.#over) return
    this.#held = this.#wasHeld = true
    clearTimeout(this.#idle)
    this.#connection.hold()
  }

  release(): void {
    if (this.#over || !this.#held) return
    this.#held = false
    this.#idle = this.#startIdle()
    this.#connection.release()
  }

  close(): void {
    this.#over = true
    clearTimeout(this.#timer)
    clearTimeout(this.#idle)
    clearInterval(this.#rate)
    this.#connection.close()
  }

  #message(frames: readonly Buffer[]): void {
    if (this.#over) return
    this.#idle.refresh()
    const payload = frames.at(-1)!
    this.#bytes += MESSAGE_BYTES + payload.length
    if (frames.length > 1 && payload.length === 0) return this.#end(undefined)
    const sequence = readSequence(frames.at(-2))
    if (sequence === undefined) throw new ZmtpError('a replayed message without a sequence number')
    this.#options.onEvents(sequence, payload)
  }

  #checkRate(): void {
    if (!this.#wasHeld && this.#bytes < (2 * this.#options.idleMs * MIN_BYTES_PER_S) / 1000)
      this.#end(new ZmtpError('the replay drips'))
    this.#bytes = 0
    this.#wasHeld = this.#held
  }

  #startIdle(): NodeJS.Timeout {
    return setTimeout(() => this.#end(new ZmtpError('no answer to the replay request')), this.#options.idleMs)
  }

  #end(error: Error | undefined): void {
    if (this.#over) return
    this.close()
    this.#options.onEnd(error)
  }
}
