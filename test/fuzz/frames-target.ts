/** Frames: one connection of our HTTP/2 in memory for each run, fed in random chunks, its answers checked frame by frame. */
import { TRUSTED, UNTRUSTED } from '../../src/grpc/h2/flood-guard.ts'
import { H2Connection } from '../../src/grpc/h2/h2-connection.ts'
import type { ConnectionContext } from '../../src/grpc/h2/h2-context.ts'
import { settingsFrame } from '../../src/grpc/h2/settings.ts'
import { PREFACE } from '../../src/grpc/suite/raw-http2-client.ts'
import { ClientWriter } from './client-frames.ts'
import type { ClientScript, Manners } from './client-frames.ts'
import { FuzzServices } from './fuzz-service.ts'
import { MemoryWire } from './memory-wire.ts'
import { mutate, split } from './random.ts'
import type { Random } from './random.ts'
import { ServerFrames } from './server-frames.ts'
import { count, Finding } from './target.ts'
import type { FuzzTarget } from './target.ts'

const MANNERS: readonly Manners[] = ['valid', 'rude', 'broken']
const KIB = 1024
const MIB = 1024 * KIB

export class FramesTarget implements FuzzTarget {
  readonly name = 'frames'
  readonly unit = 'frames'
  readonly seen = new Map<string, number>()
  readonly #services = new FuzzServices()
  #failure: unknown
  #ended = 0

  play(random: Random): number {
    const script = new ClientWriter(random, random.pick(MANNERS)).script()
    try {
      this.#connection(script, random)
    } catch (error) {
      throw new Finding(`${(error as Error).message}\n  input ${script.bytes.toString('hex').slice(0, 40000)}`, {
        cause: error,
      })
    }
    return script.frames
  }

  #connection(script: ClientScript, random: Random): void {
    this.#failure = undefined
    this.#ended = 0
    const wire = new MemoryWire()
    const own = {
      initialWindow: random.pick([65_535, 65_535, 20_000, 100_000]),
      maxConcurrentStreams: 100,
      maxHeaderListBytes: 8 * KIB,
    }
    const connection = new H2Connection(wire, this.#context(own), random.oneIn(2) ? TRUSTED : UNTRUSTED)
    const frames = new ServerFrames()
    frames.serverSent(wire.take())
    const slow = random.oneIn(3)
    const bytes = script.manners === 'broken' && random.oneIn(10) ? mutate(script.bytes, random) : script.bytes
    let skip = PREFACE.length
    for (const chunk of split(bytes, random)) {
      // Lent for the call.
      const lent = Buffer.from(chunk)
      frames.clientSends(chunk, Math.min(skip, chunk.length))
      skip -= Math.min(skip, chunk.length)
      if (slow && random.oneIn(4)) wire.congested = true
      connection.receive(lent)
      lent.fill(0xee)
      if (this.#failure !== undefined) throw this.#failure
      if (slow && random.oneIn(3)) wire.drain(connection)
      frames.serverSent(wire.take())
      if (wire.ended || wire.destroyed) break
    }
    wire.drain(connection)
    frames.serverSent(wire.take())
    if (frames.cutOff && !wire.destroyed) throw new Finding('half a frame')
    this.#judge(script, frames, wire, bytes === script.bytes)
    connection.lost()
    frames.serverSent(wire.take())
    if (wire.lateWrites > 0) throw new Finding('written after the end')
    if (this.#failure !== undefined) throw this.#failure
    if (this.#ended !== 1) throw new Finding(`told ${this.#ended} times that the connection is over`)
    if (connection.streamCount !== 0) throw new Finding(`${connection.streamCount} streams are left`)
    this.#services.nextConnection()
  }

  #judge(script: ClientScript, frames: ServerFrames, wire: MemoryWire, intact: boolean): void {
    const { goaway } = frames
    if (goaway !== undefined && goaway !== 0) {
      if (script.manners !== 'broken') throw new Finding(`GOAWAY ${goaway} for ${script.manners} frames`)
      if (!wire.ended) throw new Finding('GOAWAY without an end')
      return count(this.seen, `connection error ${goaway}`)
    }
    if (wire.ended || wire.destroyed) {
      if (script.manners !== 'broken') throw new Finding(`the connection ended for ${script.manners} frames`)
      return count(this.seen, wire.destroyed ? 'cut off' : 'ended')
    }
    count(this.seen, script.manners === 'broken' ? 'survived' : script.manners)
    if (!intact) return
    for (const { stream, answer } of script.calls) {
      const got = frames.streams.get(stream)
      if (got === undefined || !got.finished || got.grpcStatus !== '0' || !Buffer.concat(got.data).equals(answer)) {
        const bytes = got?.data.reduce((sum, piece) => sum + piece.length, 0)
        throw new Finding(
          `stream ${stream}: ${bytes} of ${answer.length} bytes, finished ${got?.finished}, grpc-status ${got?.grpcStatus}, reset ${got?.resetCode}`,
        )
      }
      count(this.seen, 'fair call')
    }
  }

  #context(own: Parameters<typeof settingsFrame>[0]): ConnectionContext {
    return {
      services: this.#services.services,
      own,
      settings: settingsFrame(own),
      prefaceMs: 60_000,
      connectionWindow: 16 * MIB,
      maxStreamPendingBytes: 4 * MIB,
      maxConnectionPendingBytes: 64 * MIB,
      handlerFailed: error => (this.#failure ??= error),
      connectionFailed: () => {},
      connectionEnded: () => this.#ended++,
    }
  }
}
