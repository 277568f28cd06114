/** Beginning, age, keepalive and orderly end of one connection. */

/** What the life of a connection needs of it. */
export interface Living {
  readonly streamCount: number
  /** GOAWAY(NO_ERROR). `final`: streams that come later are not served; else it is a notice only. */
  goaway(final: boolean): void
  /** A ping whose answer is told by `ponged` with the same mark. */
  ping(mark: number): void
  /** Ends every open stream with UNAVAILABLE. */
  failStreams(): void
  /** Sends what is pending, then closes; a peer that leaves its side open is cut off. */
  finish(): void
  destroy(): void
}

const KEEPALIVE = 1
const RETIRE = 2
/** Between the answer to the shutdown notice's ping and the final GOAWAY: answers to pings overtake other frames. */
const UNDER_WAY_MS = 50
/** After the streams were ended by force, how long their trailers may take to leave. */
const FLUSH_MS = 500
/** A client that said GOAWAY may still open streams; after so long without one it has forgotten to close. */
const LEAVE_MS = 1000
const LARGEST_DELAY_MS = 0x7fffffff

export class ConnectionLife {
  readonly #connection: Living
  #idleSince = performance.now()
  #pingUnanswered = false
  #retiring = false
  /** The final GOAWAY is out: with the last stream the connection ends. */
  #ending = false
  #over = false
  #peerLeaves = false
  #leaveTimer: NodeJS.Timeout | undefined
  #prefaceTimer: NodeJS.Timeout | undefined
  #ageTimer: NodeJS.Timeout | undefined
  #graceTimer: NodeJS.Timeout | undefined
  #closeTimer: NodeJS.Timeout | undefined

  constructor(connection: Living) {
    this.#connection = connection
  }

  get retiring(): boolean {
    return this.#retiring
  }

  /** Closes the connection unless the peer has `greeted` within `ms`: who is silent would hold its place until pings are missed. */
  awaitPreface(ms: number): void {
    this.#prefaceTimer = setTimeout(() => this.#connection.destroy(), ms).unref()
  }

  greeted(): void {
    clearTimeout(this.#prefaceTimer)
  }

  /** Retires the connection when it is `ageMs` old. */
  limitAge(ageMs: number, graceMs: number): void {
    this.#ageTimer = setTimeout(() => this.retire(graceMs), ageMs).unref()
  }

  /**
   * Lets the open streams finish, and those that the peer began before it knew; what is left after `graceMs` ends with UNAVAILABLE.
   * First comes the notice of RFC 9113 §6.8 with a ping behind it: when the peer answers that, it has read the notice.
   */
  retire(graceMs: number): void {
    if (this.#over) return
    clearTimeout(this.#graceTimer)
    this.#graceTimer = setTimeout(() => this.#expire(), Math.min(graceMs, LARGEST_DELAY_MS))
    if (this.#retiring) return
    this.#retiring = true
    clearTimeout(this.#ageTimer)
    this.#connection.goaway(false)
    this.#connection.ping(RETIRE)
  }

  /** Retires the connection when it has had no stream for `idleMs`. */
  retireIfIdle(idleMs: number): void {
    if (this.#connection.streamCount === 0 && performance.now() - this.#idleSince >= idleMs) this.retire(FLUSH_MS)
  }

  /** Called every keepalive interval: a peer that did not answer the last call's ping is dead. */
  probe(): void {
    if (this.#over) return
    if (this.#pingUnanswered) {
      this.#connection.destroy()
      return
    }
    this.#pingUnanswered = true
    this.#connection.ping(KEEPALIVE)
  }

  ponged(mark: number): void {
    if (mark === KEEPALIVE) this.#pingUnanswered = false
    else if (mark === RETIRE && this.#retiring && !this.#ending && this.#closeTimer === undefined) {
      // Timers that are late come before what has arrived meanwhile is read: that is given its turn.
      this.#closeTimer = setTimeout(() => setImmediate(() => setImmediate(() => this.#end())), UNDER_WAY_MS)
    }
  }

  /** The peer said GOAWAY: a connection that it leaves open without streams for a moment is closed. */
  peerLeaves(): void {
    this.#peerLeaves = true
    if (this.#connection.streamCount === 0) this.idle()
  }

  /** The last stream is over. */
  idle(): void {
    this.#idleSince = performance.now()
    if (this.#ending) this.#connection.finish()
    else if (this.#peerLeaves) this.#leaveTimer ??= setTimeout(() => this.#left(), LEAVE_MS).unref()
  }

  #left(): void {
    this.#leaveTimer = undefined
    if (this.#connection.streamCount > 0) return
    if (performance.now() - this.#idleSince < LEAVE_MS - 1) this.idle()
    else this.#connection.finish()
  }

  /** The connection is closed. */
  over(): void {
    this.#over = true
    clearTimeout(this.#ageTimer)
    clearTimeout(this.#graceTimer)
    clearTimeout(this.#closeTimer)
    clearTimeout(this.#leaveTimer)
    clearTimeout(this.#prefaceTimer)
  }

  #end(): void {
    if (this.#over) return
    this.#ending = true
    this.#connection.goaway(true)
    if (this.#connection.streamCount === 0) this.#connection.finish()
  }

  #expire(): void {
    this.#connection.failStreams()
    this.#graceTimer = setTimeout(() => this.#connection.destroy(), FLUSH_MS)
  }
}
