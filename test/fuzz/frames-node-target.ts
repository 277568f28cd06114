/**
 * The same frames to our HTTP/2 and to `node:http2`, both on sockets. Valid ones: the same answers. Broken ones: whether the connection
 * ends is compared and counted, no more, because node's server is more lenient in places (`http2-conformance.test.ts`) and stricter in others.
 */
import { connect } from 'node:net'
import { listenH2 } from '../../src/grpc/h2/h2-transport.ts'
import { PlainDecoder } from '../../src/grpc/h2/hpack/plain-hpack.testing.ts'
import { listenHttp2 } from '../../src/grpc/http2-transport.ts'
import { END_STREAM, FrameType } from '../../src/grpc/suite/raw-http2-client.ts'
import type { TransportServer } from '../../src/grpc/transport.ts'
import { ClientWriter } from './client-frames.ts'
import type { ClientScript } from './client-frames.ts'
import { FuzzServices } from './fuzz-service.ts'
import type { Random } from './random.ts'
import { count, expectSame, Finding } from './target.ts'
import type { FuzzTarget } from './target.ts'

const HEAD = 9
/** Nothing that is worth waiting for takes so long. */
const PATIENCE_MS = 20_000

/** What a connection came to. */
interface Outcome {
  /** Code of the GOAWAY that ended it; −1: it was not ended. */
  readonly ended: number
  /** By stream: status, grpc-status, bytes. */
  readonly answers: ReadonlyMap<number, string>
}

export class FramesNodeTarget implements FuzzTarget {
  readonly name = 'frames-node'
  readonly unit = 'frames'
  readonly seen = new Map<string, number>()
  #servers: Promise<readonly [TransportServer, TransportServer]> | undefined
  #failure: unknown

  async play(random: Random): Promise<number> {
    this.#servers ??= this.#listen()
    const [own, node] = await this.#servers
    const script = new ClientWriter(random, random.oneIn(3) ? 'broken' : 'valid', false).script()
    const [ours, theirs] = await Promise.all([converse(own.port, script), converse(node.port, script)])
    if (this.#failure !== undefined) throw this.#failure
    if (script.manners === 'valid') {
      if (ours.ended >= 0 || theirs.ended >= 0)
        throw new Finding(`valid frames ended a connection: GOAWAY ${ours.ended} of ours, ${theirs.ended} of node's`)
      for (const { stream } of script.calls)
        expectSame(
          `stream ${stream} is answered differently`,
          ours.answers.get(stream),
          theirs.answers.get(stream),
          script.bytes,
        )
      count(this.seen, 'valid, the same answers')
    } else if (ours.ended >= 0 === theirs.ended >= 0)
      count(this.seen, ours.ended < 0 ? 'broken, both live' : 'broken, both end')
    else
      count(
        this.seen,
        ours.ended < 0 ? `broken, only node ends (${theirs.ended})` : `broken, only ours ends (${ours.ended})`,
      )
    return 2 * script.frames
  }

  async close(): Promise<void> {
    for (const server of (await this.#servers) ?? []) await server.close()
    this.#servers = undefined
  }

  async #listen(): Promise<readonly [TransportServer, TransportServer]> {
    const options = () => ({
      services: [...new FuzzServices().services.values()],
      listen: { host: '127.0.0.1', port: 0 },
      onError: (error: unknown, source: string) => {
        if (source === 'handler') this.#failure = error
      },
    })
    return [await listenH2(options()), await listenHttp2(options())]
  }
}

/** Writes everything, and reads until all calls are answered and the last ping, or to the end. */
function converse(port: number, script: ClientScript): Promise<Outcome> {
  const decoder = new PlainDecoder()
  const heads = new Map<number, Record<string, string>>()
  const bodies = new Map<number, Buffer[]>()
  const unfinished = new Set(script.calls.map(({ stream }) => stream))
  let ended = -1
  let ponged = false
  let pending: Buffer = Buffer.alloc(0)
  const take = (type: number, flags: number, stream: number, payload: Buffer): void => {
    if (type === FrameType.HEADERS)
      heads.set(stream, {
        ...heads.get(stream),
        ...(Object.fromEntries(decoder.decode(payload)) as Record<string, string>),
      })
    else if (type === FrameType.DATA) bodies.set(stream, [...(bodies.get(stream) ?? []), Buffer.from(payload)])
    else if (type === FrameType.GOAWAY && payload.readUInt32BE(4) !== 0) ended = payload.readUInt32BE(4)
    else if (type === FrameType.PING && flags === 1) ponged ||= payload.toString('latin1').startsWith('finale')
    if ((type === FrameType.RST_STREAM || (flags & END_STREAM) !== 0) && type <= FrameType.RST_STREAM)
      unfinished.delete(stream)
  }
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const timer = setTimeout(() => {
      socket.destroy()
      reject(
        new Finding(
          `no answer on ${unfinished.size} streams, ping ${String(ponged)}\n  input ${script.bytes.toString('hex')}`,
        ),
      )
    }, PATIENCE_MS)
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      const answers = [...heads].map(
        ([stream, head]) =>
          [
            stream,
            `${head[':status']} ${head['grpc-status']} ${Buffer.concat(bodies.get(stream) ?? []).toString('base64')}`,
          ] as const,
      )
      resolve({ ended, answers: new Map(answers) })
    })
    socket.on('data', chunk => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
      let at = 0
      while (pending.length - at >= HEAD) {
        const length = pending.readUIntBE(at, 3)
        if (pending.length - at < HEAD + length) break
        take(
          pending[at + 3]!,
          pending[at + 4]!,
          pending.readUInt32BE(at + 5),
          pending.subarray(at + HEAD, at + HEAD + length),
        )
        at += HEAD + length
      }
      pending = pending.subarray(at)
      if (ponged && unfinished.size === 0) socket.destroy()
    })
    socket.write(script.bytes)
    // A broken length may make the server wait for ever: it hears that nothing more comes.
    if (script.manners === 'broken') socket.end()
  })
}
