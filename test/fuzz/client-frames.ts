/** What a client writes on a fuzzed connection: fair calls, and between them what else comes, by the client's manners. */
import { frameMessage } from '../../src/grpc/framing.ts'
import * as write from '../../src/grpc/suite/frames.ts'
import {
  END_HEADERS,
  END_STREAM,
  FrameType,
  PREFACE,
  frame,
  grpcRequest,
  headerBlock,
  resetFrame,
} from '../../src/grpc/suite/raw-http2-client.ts'
import { GIVEN, PATHS } from './fuzz-service.ts'
import { randomBlock } from './header-blocks.ts'
import { brokenFrame, changed, misleading, refusedRequest, rudeFrame } from './odd-frames.ts'
import { mutate } from './random.ts'
import type { Random } from './random.ts'

const MIB = 1024 * 1024
const BEHAVIOURS = ['echo', 'echo', 'miser', 'giver', 'early', 'slow'] as const
/** A stream must not be sent more than HTTP/2's own window: nobody looks at what the server grants. */
const MOST_SENT = 60_000
const LARGEST_PIECE = 16_000

/** `valid`: nothing may be refused. `rude`: streams may be, the connection lives. `broken`: the connection may end. */
export type Manners = 'valid' | 'rude' | 'broken'

/** A call that is not disturbed: its answer must be right whatever else happens, unless the connection ends. */
export interface FairCall {
  readonly stream: number
  readonly answer: Buffer
}

export interface ClientScript {
  readonly bytes: Buffer
  readonly frames: number
  readonly calls: readonly FairCall[]
  readonly manners: Manners
}

interface OpenCall {
  readonly stream: number
  /** Of a message under way. */
  readonly pieces: Buffer[]
  readonly answer: Uint8Array[]
  readonly isGiver: boolean
  /** Anything may happen to it. */
  readonly isOdd: boolean
  sent: number
}

const blocks = new Map(Object.values(PATHS).map(path => [path, headerBlock(Object.entries(grpcRequest(path)))]))
const given = [frameMessage(Buffer.alloc(GIVEN, 'g')), frameMessage(Buffer.alloc(10, 'h'))]

export class ClientWriter {
  readonly #random: Random
  readonly #manners: Manners
  readonly #strayPongs: boolean
  readonly #frames: Buffer[] = [Buffer.from(PREFACE), write.settings()]
  readonly #open: OpenCall[] = []
  /** Streams of odd calls that are over. */
  readonly #oddOnes: number[] = []
  #calls: FairCall[] = []
  /** A frame has the wrong length, so that nothing behind it is what it was meant to be. */
  #misled = false
  #next = 1

  /** `strayPongs`: PING ACKs that answer nothing. They are allowed, but `node:http2` ends the connection. */
  constructor(random: Random, manners: Manners, strayPongs = true) {
    this.#random = random
    this.#manners = manners
    this.#strayPongs = strayPongs
  }

  script(): ClientScript {
    const random = this.#random
    if (random.oneIn(2)) this.#frames.push(frame(FrameType.SETTINGS, 1, 0))
    for (let steps = 5 + random.below(60); steps > 0; steps--) this.#step()
    this.#finale()
    const calls = this.#misled ? [] : this.#calls
    return { bytes: Buffer.concat(this.#frames), frames: this.#frames.length, calls, manners: this.#manners }
  }

  #step(): void {
    const random = this.#random
    const choice = random.below(20)
    if (this.#open.length === 0 || choice < 4) this.#openCall()
    else if (choice < 12) this.#goOn(random.pick(this.#open))
    else if (choice < 17 || this.#manners === 'valid') this.#frames.push(this.#common())
    else if (this.#manners === 'rude') this.#beRude()
    else if (random.oneIn(4)) this.#break()
  }

  #openCall(): void {
    const random = this.#random
    const stream = this.#next
    this.#next += 2
    const behaviour = random.pick(BEHAVIOURS)
    const isOdd = this.#manners !== 'valid' && random.oneIn(3)
    if (isOdd) this.#openOddly(stream, blocks.get(PATHS[behaviour])!)
    else this.#openFairly(stream, blocks.get(PATHS[behaviour])!)
    const isFair = !isOdd && (behaviour === 'echo' || behaviour === 'giver')
    this.#open.push({ stream, pieces: [], answer: [], isGiver: behaviour === 'giver', isOdd: !isFair, sent: 0 })
  }

  #openFairly(stream: number, block: Buffer): void {
    const random = this.#random
    switch (random.below(6)) {
      case 0: {
        const at = random.below(block.length)
        const rest = write.continuation(stream, block.subarray(at), END_HEADERS)
        this.#frames.push(write.openHeaders(stream, block.subarray(0, at)), rest)
        break
      }
      case 1:
        this.#frames.push(write.paddedHeaders(stream, block, random.below(200)))
        break
      case 2:
        this.#frames.push(write.prioritizedHeaders(stream, block, 0))
        break
      default:
        this.#frames.push(write.headers(stream, block))
    }
  }

  #openOddly(stream: number, block: Buffer): void {
    const random = this.#random
    if (this.#manners === 'rude' || random.oneIn(2)) {
      const refused = random.oneIn(3) ? block : refusedRequest(random)
      this.#frames.push(
        random.oneIn(9) ? write.prioritizedHeaders(stream, refused, stream) : write.headers(stream, refused),
      )
    } else if (random.oneIn(3)) this.#frames.push(changed(random, write.headers(stream, block)))
    else
      this.#frames.push(
        write.headers(stream, random.oneIn(2) ? mutate(block, random) : randomBlock(random, 4096, false)),
      )
  }

  /** A message, or the next piece of one, or the end. */
  #goOn(call: OpenCall): void {
    const random = this.#random
    if (call.pieces.length > 0) return this.#data(call, call.pieces.shift()!, false)
    const size = random.length(20_000)
    if (random.oneIn(5) || call.sent + size + 300 > MOST_SENT) return this.#finish(call)
    const message = Buffer.from(frameMessage(Buffer.alloc(size, random.below(256))))
    call.answer.push(message)
    const step = random.oneIn(3) ? 1 + random.below(20) : LARGEST_PIECE
    // Not too many frames for one message.
    const small = Math.min(message.length, 30 * step)
    call.pieces.push(...pieces(message.subarray(0, small), step), ...pieces(message.subarray(small), LARGEST_PIECE))
  }

  #data(call: OpenCall, piece: Buffer, last: boolean): void {
    const random = this.#random
    const flags = last ? END_STREAM : 0
    const padding = random.oneIn(6) ? random.below(200) : -1
    call.sent += piece.length + padding + 1
    const bytes =
      padding < 0 ? write.data(call.stream, piece, flags) : write.paddedData(call.stream, piece, padding, flags)
    const isBroken = this.#manners === 'broken' && call.isOdd && random.oneIn(20)
    this.#frames.push(isBroken ? changed(random, bytes) : bytes)
  }

  #finish(call: OpenCall): void {
    const random = this.#random
    for (const piece of call.pieces.splice(0)) this.#data(call, piece, false)
    this.#open.splice(this.#open.indexOf(call), 1)
    if (call.isOdd && random.oneIn(2)) this.#frames.push(resetFrame(call.stream, random.below(14)))
    else if (!call.isOdd && random.oneIn(4))
      this.#frames.push(write.headers(call.stream, headerBlock([['x-trailer', '1']]), END_STREAM))
    else this.#data(call, Buffer.alloc(0), true)
    if (call.isOdd) this.#oddOnes.push(call.stream)
    else this.#calls.push({ stream: call.stream, answer: Buffer.concat(call.isGiver ? given : call.answer) })
  }

  #beRude(): void {
    const open = this.#open.filter(({ isOdd }) => isOdd)
    const { length } = this.#oddOnes
    const at = this.#random.below(open.length + length)
    if (at < open.length) this.#frames.push(rudeFrame(this.#random, open[at]!.stream, true))
    else if (length > 0) this.#frames.push(rudeFrame(this.#random, this.#oddOnes[at - open.length]!, false))
  }

  #break(): void {
    const random = this.#random
    const odd = [...this.#open.filter(({ isOdd }) => isOdd).map(({ stream }) => stream), ...this.#oddOnes]
    const stream =
      odd.length > 0 && !random.oneIn(4) ? random.pick(odd) : random.pick([0, 2, this.#next, this.#next + 1000])
    if (stream === this.#next) {
      // It may be opened by what comes: no call of ours may have it then.
      this.#next += 2
      this.#oddOnes.push(stream)
    }
    const bytes = brokenFrame(random, stream, this.#common())
    // A high id makes those below it unusable.
    if (stream > this.#next || random.oneIn(6)) this.#misled = true
    this.#frames.push(this.#misled && random.oneIn(2) ? misleading(random, bytes) : bytes)
  }

  /** What may come at any time. */
  #common(): Buffer {
    const random = this.#random
    const { INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, HEADER_TABLE_SIZE } = write.Setting
    switch (random.below(8)) {
      case 0:
        return write.ping(`p${random.below(1000)}`)
      case 1:
        return write.settings([INITIAL_WINDOW_SIZE, random.pick([0, 1, 100, 65_535, 200_000])])
      case 2:
        return write.settings(
          [MAX_FRAME_SIZE, random.pick([16_384, 20_000, 2 ** 24 - 1])],
          [HEADER_TABLE_SIZE, random.below(5000)],
        )
      case 3:
        return write.windowUpdate(0, 1 + random.below(100_000))
      case 4:
        return write.windowUpdate(
          this.#open.length === 0 ? 0 : random.pick(this.#open).stream,
          1 + random.below(100_000),
        )
      case 5:
        return write.priority(1 + 2 * random.below(20), 0, random.below(256))
      case 6:
        return frame(
          random.pick([0x0a, 0x0c, 0x10, 0x42, 0xff]),
          random.below(256),
          random.below(40),
          random.bytes(random.length(100)),
        )
      default:
        return frame(FrameType.PING, this.#strayPongs ? 1 : 0, 0, random.bytes(8))
    }
  }

  /** All calls end, and all windows open. */
  #finale(): void {
    while (this.#open.length > 0) this.#finish(this.#open[0]!)
    const window = write.settings([write.Setting.INITIAL_WINDOW_SIZE, MIB])
    this.#frames.push(window, write.windowUpdate(0, 64 * MIB), write.ping('finale'))
  }
}

function pieces(bytes: Buffer, step: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / step) }, (_, at) => bytes.subarray(at * step, (at + 1) * step))
}
