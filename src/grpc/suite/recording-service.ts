/** A service for tests of transports: writes down every upward call and does what the test says. */
import { setTimeout as sleep } from 'node:timers/promises'
import { StreamEnd } from '../transport.ts'
import type { ServerStream, StreamHandler, StreamHeaders, StreamService } from '../transport.ts'

export class RecordedStream implements StreamHandler {
  readonly stream: ServerStream
  readonly headers: StreamHeaders
  /** Complete messages. */
  readonly messages: Buffer[] = []
  readonly closings: StreamEnd[] = []
  receivedBytes = 0
  drainedCalls = 0
  peerEndedCalls = 0
  private readonly script: Script
  private parts: Buffer[] = []
  private inside = false

  constructor(stream: ServerStream, headers: StreamHeaders, script: Script) {
    this.stream = stream
    this.headers = headers
    this.script = script
  }

  data(part: Uint8Array, remaining: number): void {
    this.guarded(() => {
      this.receivedBytes += part.length
      this.parts.push(Buffer.from(part))
      this.script.part?.(this, part, remaining)
      if (remaining > 0) return
      const message = Buffer.concat(this.parts)
      this.parts = []
      this.messages.push(message)
      this.script.message?.(this, message)
    })
  }

  closed(how: StreamEnd): void {
    this.guarded(() => {
      this.closings.push(how)
      if (how === StreamEnd.HALF_CLOSED) this.script.halfClosed?.(this)
    })
  }

  peerEnded(): void {
    this.guarded(() => this.peerEndedCalls++)
  }

  drained(): void {
    this.guarded(() => {
      this.drainedCalls++
      this.script.drained?.(this)
    })
  }

  /** The seam promises that no upward call happens within another one of the same stream. */
  private guarded(call: () => void): void {
    if (this.inside) throw new Error('re-entrant call')
    this.inside = true
    try {
      call()
    } finally {
      this.inside = false
    }
  }
}

export interface Script {
  open?(recorded: RecordedStream): void
  part?(recorded: RecordedStream, part: Uint8Array, remaining: number): void
  message?(recorded: RecordedStream, message: Buffer): void
  halfClosed?(recorded: RecordedStream): void
  drained?(recorded: RecordedStream): void
}

export class RecordingService implements StreamService {
  readonly path: string
  readonly maxMessageBytes: number
  readonly opened: RecordedStream[] = []
  private readonly script: Script

  constructor(path: string, script: Script, maxMessageBytes = 4 * 1024 * 1024) {
    this.path = path
    this.script = script
    this.maxMessageBytes = maxMessageBytes
  }

  open(stream: ServerStream, headers: StreamHeaders): StreamHandler {
    const recorded = new RecordedStream(stream, headers, this.script)
    this.opened.push(recorded)
    this.script.open?.(recorded)
    return recorded
  }

  get last(): RecordedStream {
    return this.opened.at(-1)!
  }
}

/** Waits for what the other side causes; fails by the test's own timeout. */
export async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2)
}
