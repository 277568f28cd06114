/** The methods that fuzzed connections call; every upward call is checked against the seam's promises. */
import { frameMessage } from '../../src/grpc/framing.ts'
import { GrpcStatus, StreamEnd } from '../../src/grpc/transport.ts'
import type { ServerStream, StreamHandler, StreamService } from '../../src/grpc/transport.ts'
import { Finding } from './target.ts'

export type Behaviour = 'echo' | 'miser' | 'giver' | 'early' | 'slow'

export const PATHS: Readonly<Record<Behaviour, string>> = {
  echo: '/fuzz/Echo',
  miser: '/fuzz/Miser',
  giver: '/fuzz/Giver',
  early: '/fuzz/Early',
  slow: '/fuzz/Slow',
}
export const GIVEN = 100_000
const MAX_MESSAGE_BYTES = 50_000

class Handler implements StreamHandler {
  readonly #stream: ServerStream
  readonly #behaviour: Behaviour
  #closings: StreamEnd[] = []
  #ended = false
  #inside = false
  #expected = -1
  #parts: Buffer[] = []

  constructor(stream: ServerStream, behaviour: Behaviour) {
    this.#stream = stream
    this.#behaviour = behaviour
  }

  /** Nothing more will be called. */
  get over(): boolean {
    return this.#ended || this.#closings.some(how => how !== StreamEnd.HALF_CLOSED)
  }

  opened(): void {
    if (this.#behaviour === 'early') this.#end(GrpcStatus.PERMISSION_DENIED)
  }

  data(part: Uint8Array, remaining: number): void {
    this.#call('data', () => {
      if (this.#closings.length > 0) throw new Finding('data after the end')
      if (this.#expected >= 0 && this.#expected !== part.length + remaining) throw new Finding('a part is missing')
      this.#expected = remaining === 0 ? -1 : remaining
      if (this.#behaviour !== 'miser') this.#stream.grant(part.length)
      if (this.#behaviour !== 'echo') return
      this.#parts.push(Buffer.from(part))
      if (remaining > 0) return
      this.#stream.send(frameMessage(Buffer.concat(this.#parts)))
      this.#parts = []
    })
  }

  closed(how: StreamEnd): void {
    this.#call('closed', () => {
      if (how === StreamEnd.HALF_CLOSED && this.#closings.length > 0) throw new Finding('closed again')
      this.#closings.push(how)
      if (how !== StreamEnd.HALF_CLOSED) return
      if (this.#behaviour === 'giver') {
        this.#stream.send(frameMessage(Buffer.alloc(GIVEN, 'g')))
        this.#stream.send(frameMessage(Buffer.alloc(10, 'h')))
      }
      if (this.#behaviour !== 'slow') this.#end(GrpcStatus.OK)
    })
  }

  drained(): void {
    this.#call('drained', () => {})
  }

  #end(status: GrpcStatus): void {
    this.#ended = true
    this.#stream.end(status)
  }

  #call(what: string, body: () => void): void {
    if (this.#inside) throw new Finding(`${what} within another call`)
    if (this.over) throw new Finding(`${what} after everything was over`)
    this.#inside = true
    body()
    this.#inside = false
  }
}

/** The services of one run. */
export class FuzzServices {
  readonly services: ReadonlyMap<string, StreamService>
  readonly #handlers: Handler[] = []

  constructor() {
    this.services = new Map(
      Object.entries(PATHS).map(([behaviour, path]) => [path, this.#service(behaviour as Behaviour)]),
    )
  }

  /** Forgets the connection before, all of whose handlers must have been told that they are over. */
  nextConnection(): void {
    const open = this.#handlers.filter(({ over }) => !over).length
    this.#handlers.length = 0
    if (open > 0) throw new Finding(`${open} handlers were never told of the end`)
  }

  #service(behaviour: Behaviour): StreamService {
    const path = PATHS[behaviour]
    return {
      path,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      open: (stream, headers) => {
        if (headers[':path'] !== path) throw new Finding('headers of another call')
        const handler = new Handler(stream, behaviour)
        this.#handlers.push(handler)
        handler.opened()
        return handler
      },
    }
  }
}
