import { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import { ErrorCode, FRAME_HEAD_BYTES, FrameType, writeFrameHead, writeUint32 } from './frame.ts'

/** Connections that are told at a time; further ones are closed without a word. */
const MOST = 64
/** For the client to read it. */
const LINGER_MS = 1000
const WHY = 'too many connections'

/** Tells connections that are too many so: GOAWAY(ENHANCE_YOUR_CALM) with no stream served, so that a client knows what it may send elsewhere. */
export class Refusals {
  readonly #answer: Uint8Array
  #count = 0

  /** @param settings the server's preface, which comes first on any connection */
  constructor(settings: Uint8Array) {
    const why = Buffer.from(WHY)
    const goaway = new Uint8Array(FRAME_HEAD_BYTES + 8 + why.length)
    const at = writeFrameHead(goaway, 0, 8 + why.length, FrameType.GOAWAY, 0, 0)
    goaway.set(why, writeUint32(goaway, writeUint32(goaway, at, 0), ErrorCode.ENHANCE_YOUR_CALM))
    this.#answer = Buffer.concat([settings, goaway])
  }

  /** Owns the socket from here on. */
  refuse(socket: Socket): void {
    socket.on('error', () => {})
    if (this.#count >= MOST) {
      socket.destroy()
      return
    }
    this.#count++
    const linger = setTimeout(() => socket.destroy(), LINGER_MS)
    socket.on('close', () => {
      clearTimeout(linger)
      this.#count--
    })
    // What it has sent must be read, or closing the socket would take the answer back.
    socket.resume()
    socket.end(this.#answer)
  }
}
