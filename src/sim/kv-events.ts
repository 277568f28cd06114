/**
 * Tells what the KV cache holds, as vLLM does: after each step one batch `[time, events, rank]` in MessagePack on a ZMQ PUB socket, with the
 * topic `kv@<replica>@<model>` and a sequence number; the last batches can be had again from a ROUTER socket.
 */
import { Buffer } from 'node:buffer'
import { pack, type Packable } from './msgpack.ts'
import type { Sequence } from './sequence.ts'
import { ZmtpServer } from './zmtp-server.ts'

/** Batches that can be replayed. */
const KEPT = 10_000
const END = Buffer.alloc(8, 0xff)
const MEDIUM = 'GPU'

/** What the engine does to its cache. */
export interface KvEventRecorder {
  /** Blocks `first` … `end` − 1 of the sequence can be found by others from now on. */
  stored(sequence: Sequence, first: number, end: number): void
  removed(key: number): void
  /** A step is over. */
  flush(): void
}

export interface KvEventsOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly replayPort: number
  readonly blockSize: number
  readonly topic: () => string
  /** Unix time, seconds. */
  readonly unixTime: () => number
}

export class KvEventPublisher implements KvEventRecorder {
  port = 0
  replayPort = 0
  readonly #options: KvEventsOptions
  readonly #publisher = new ZmtpServer({ type: 'PUB' })
  readonly #router: ZmtpServer
  #events: Packable[] = []
  #next = 0
  #kept: (readonly [number: Buffer, payload: Buffer])[] = []

  constructor(options: KvEventsOptions) {
    this.#options = options
    this.#router = new ZmtpServer({ type: 'ROUTER', onRequest: (frames, answer) => this.#replay(frames, answer) })
  }

  async listen(): Promise<void> {
    const { host, port, replayPort } = this.#options
    this.port = await this.#publisher.listen(host, port)
    this.replayPort = await this.#router.listen(host, replayPort)
  }

  async close(): Promise<void> {
    await Promise.all([this.#publisher.close(), this.#router.close()])
  }

  stored({ chain, request }: Sequence, first: number, end: number): void {
    const { blockSize } = this.#options
    const { lora, cacheSalt } = request
    const extras = Array.from({ length: end - first }, (_, i): Packable => {
      const keys = [
        ...(lora === undefined ? [] : [lora]),
        ...(i + first === 0 && cacheSalt !== undefined ? [cacheSalt] : []),
      ]
      return keys.length === 0 ? null : keys
    })
    this.#events.push([
      'BlockStored',
      chain.keys.slice(first, end).map(BigInt),
      first === 0 ? null : BigInt(chain.keys[first - 1]!),
      chain.tokens.slice(first * blockSize, end * blockSize),
      blockSize,
      null,
      MEDIUM,
      lora ?? null,
      extras,
    ])
  }

  removed(key: number): void {
    this.#events.push(['BlockRemoved', [BigInt(key)], MEDIUM])
  }

  flush(): void {
    if (this.#events.length === 0) return
    const payload = pack([this.#options.unixTime(), this.#events, 0])
    this.#events = []
    const number = Buffer.alloc(8)
    number.writeBigUInt64BE(BigInt(this.#next++))
    this.#kept.push([number, payload])
    if (this.#kept.length > KEPT) this.#kept.shift()
    this.#publisher.publish([Buffer.from(this.#options.topic()), number, payload])
  }

  #replay(frames: readonly Buffer[], answer: (frames: readonly Uint8Array[]) => void): void {
    const [empty, from] = frames
    if (frames.length !== 2 || empty!.length !== 0 || from!.length !== 8) return
    for (const [number, payload] of this.#kept)
      if (Buffer.compare(number, from!) >= 0) answer([Buffer.alloc(0), number, payload])
    answer([Buffer.alloc(0), END, Buffer.alloc(0)])
  }
}
