/**
 * One ZMTP connection to a peer that listens: as SUB, which takes what a PUB sends, or as DEALER, which talks to a ROUTER. No
 * reconnecting and no queues: whoever opens it does that, and messages go on as they come, or wait in TCP.
 */
import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'
import { commandBytes, FrameReader, messageBytes, propertyBytes, readCommand, readProperties } from './frames.ts'
import { greeting, GREETING_BYTES, isForeign, readGreeting, ZmtpError } from './greeting.ts'

export interface ZmtpOptions {
  readonly host: string
  readonly port: number
  readonly type: 'SUB' | 'DEALER'
  /** Prefixes of first frames; for SUB. */
  readonly topics?: readonly string[]
  /** Until the connection is ready, ms. */
  readonly handshakeMs: number
  /** A silent peer is asked for a sign of life after so long; twice as long without one, and it is gone. ms */
  readonly heartbeatMs: number
  readonly maxMessageBytes?: number
  readonly onReady: () => void
  /** Frames belong to the receiver. What it throws closes the connection. */
  readonly onMessage: (frames: Buffer[]) => void
  /** Once, unless `close` was called. */
  readonly onClosed: (error: Error) => void
}

const PARTNERS: Readonly<Record<ZmtpOptions['type'], readonly string[]>> = {
  SUB: ['PUB', 'XPUB'],
  DEALER: ['ROUTER', 'REP', 'DEALER'],
}
const DEFAULT_MAX_MESSAGE_BYTES = 8 * 1024 * 1024
const MAX_FRAMES = 8
/** An event stream has three. */
const MAX_PING_CONTEXT = 16
/** What the receiver may take of a turn of the event loop with many small messages; then others have theirs. ms */
const TURN_MS = 10
/** Characters of a peer's text in an error. */
const MAX_TOLD = 256

export class ZmtpConnection {
  readonly #options: ZmtpOptions
  readonly #socket: Socket
  readonly #reader: FrameReader
  /** Bytes of the greeting so far; undefined: it is complete. */
  #greeting: Buffer | undefined = Buffer.alloc(0)
  #minor = 0
  #ready = false
  #closed = false
  #timer: NodeJS.Timeout
  /** Silent since the last look, and asked. */
  #asked = false
  #heard = false
  #turnBegan = 0
  #held = false
  /** Goes on in the next turn. */
  #next: NodeJS.Immediate | undefined

  constructor(options: ZmtpOptions) {
    this.#options = options
    this.#reader = new FrameReader(
      { command: body => this.#command(body), message: frames => this.#message(frames) },
      { maxMessageBytes: options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES, maxFrames: MAX_FRAMES },
    )
    this.#socket = connect({ host: options.host, port: options.port, noDelay: true })
    this.#socket.on('connect', () => this.#socket.write(greeting()))
    this.#socket.on('data', (bytes: Buffer) => this.#data(bytes))
    this.#socket.on('error', error => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new ZmtpError('the peer has closed the connection')))
    this.#timer = setTimeout(
      () => this.#fail(new ZmtpError(`not ready within ${options.handshakeMs} ms`)),
      options.handshakeMs,
    )
  }

  /** After `onReady`. */
  send(frames: readonly Uint8Array[]): void {
    if (!this.#closed) this.#socket.write(messageBytes(frames))
  }

  /** No more messages for now: what comes waits here, less than a message and a read of the socket, and then in TCP. The peer is not found silent. */
  hold(): void {
    this.#held = true
    this.#reader.hold()
    this.#socket.pause()
  }

  /** Goes on after `hold`, in the next turn of the event loop. */
  release(): void {
    if (!this.#held) return
    this.#held = false
    this.#next ??= setImmediate(() => {
      this.#next = undefined
      if (this.#held || this.#closed) return
      this.#socket.resume()
      this.#data(undefined)
    })
  }

  /** As if the peer had made a mistake. */
  fail(error: Error): void {
    this.#fail(error)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#reader.stop()
    clearTimeout(this.#timer)
    clearImmediate(this.#next)
    this.#socket.destroy()
  }

  #fail(error: Error): void {
    if (this.#closed) return
    this.close()
    this.#options.onClosed(error)
  }

  #data(bytes: Buffer | undefined): void {
    this.#heard = true
    this.#turnBegan = performance.now()
    try {
      if (bytes === undefined) this.#reader.release()
      else if (this.#greeting === undefined) this.#reader.feed(bytes)
      else this.#greet(bytes)
    } catch (error) {
      this.#fail(error instanceof Error ? error : new ZmtpError(String(error)))
    }
  }

  #greet(bytes: Buffer): void {
    const all = Buffer.concat([this.#greeting!, bytes])
    if (isForeign(all)) throw new ZmtpError('the peer does not speak ZMTP')
    if (all.length < GREETING_BYTES) {
      this.#greeting = all
      return
    }
    this.#minor = readGreeting(all)
    this.#greeting = undefined
    const { type } = this.#options
    this.#socket.write(
      commandBytes('READY', propertyBytes({ 'Socket-Type': type, ...(type === 'DEALER' ? { Identity: '' } : {}) })),
    )
    if (all.length > GREETING_BYTES) this.#reader.feed(all.subarray(GREETING_BYTES))
  }

  #command(body: Buffer): void {
    const { name, data } = readCommand(body)
    if (name === 'ERROR') throw new ZmtpError(`the peer refuses: ${data.toString('latin1', 1, 1 + MAX_TOLD)}`)
    if (name === 'PING') {
      // Two bytes of time to live, then a context that comes back.
      this.#socket.write(commandBytes('PONG', data.subarray(2, 2 + MAX_PING_CONTEXT)))
    } else if (name === 'READY') this.#becomeReady(data)
    // Others are of no concern to SUB and DEALER.
    else if (!this.#ready) throw new ZmtpError(`${name} before READY`)
  }

  #becomeReady(data: Buffer): void {
    if (this.#ready) throw new ZmtpError('READY twice')
    const { type, topics = [], heartbeatMs } = this.#options
    const partner = readProperties(data).get('socket-type') ?? ''
    if (!PARTNERS[type].includes(partner))
      throw new ZmtpError(`the peer's socket is ${partner.slice(0, MAX_TOLD) || 'of no type'}`)
    this.#ready = true
    clearTimeout(this.#timer)
    this.#timer = setInterval(() => this.#look(), heartbeatMs)
    for (const topic of topics) {
      const text = Buffer.from(topic)
      // 3.0 says it with a message, 3.1 with a command.
      this.#socket.write(
        this.#minor >= 1 ? commandBytes('SUBSCRIBE', text) : messageBytes([Buffer.concat([Buffer.from([1]), text])]),
      )
    }
    this.#options.onReady()
  }

  #message(frames: Buffer[]): void {
    if (!this.#ready) throw new ZmtpError('a message before READY')
    this.#options.onMessage(frames)
    if (performance.now() - this.#turnBegan < TURN_MS || this.#closed || this.#held) return
    this.hold()
    this.release()
  }

  #look(): void {
    if (this.#heard || this.#held) {
      this.#heard = this.#asked = false
    } else if (this.#asked) this.#fail(new ZmtpError('the peer is silent'))
    else {
      // Peers that know no heartbeats leave it unanswered: there the kernel has to find out.
      if (this.#minor >= 1) this.#asked = true
      else this.#socket.setKeepAlive(true, this.#options.heartbeatMs)
      if (this.#asked) this.#socket.write(commandBytes('PING', Buffer.from([0, 0])))
    }
  }
}
