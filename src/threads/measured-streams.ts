import {
  GrpcStatus,
  type ServerStream,
  StreamEnd,
  type StreamHandler,
  type StreamHeaders,
  type StreamService,
} from '../grpc/transport.ts'

/** Told once of each stream that is over, by the name that gRPC's Go library has for its status; a stream that the peer broke off was `Canceled`. */
export type StreamOver = (code: string, seconds: number) => void

const NAMES = new Map<GrpcStatus, string>([
  [GrpcStatus.OK, 'OK'],
  [GrpcStatus.CANCELLED, 'Canceled'],
  [GrpcStatus.UNKNOWN, 'Unknown'],
  [GrpcStatus.INVALID_ARGUMENT, 'InvalidArgument'],
  [GrpcStatus.DEADLINE_EXCEEDED, 'DeadlineExceeded'],
  [GrpcStatus.NOT_FOUND, 'NotFound'],
  [GrpcStatus.PERMISSION_DENIED, 'PermissionDenied'],
  [GrpcStatus.RESOURCE_EXHAUSTED, 'ResourceExhausted'],
  [GrpcStatus.ABORTED, 'Aborted'],
  [GrpcStatus.UNIMPLEMENTED, 'Unimplemented'],
  [GrpcStatus.INTERNAL, 'Internal'],
  [GrpcStatus.UNAVAILABLE, 'Unavailable'],
])

/** A service whose streams are timed. */
export class MeasuredStreams implements StreamService {
  readonly path: string
  readonly maxMessageBytes: number
  readonly #service: StreamService
  readonly #over: StreamOver

  constructor(service: StreamService, over: StreamOver) {
    this.path = service.path
    this.maxMessageBytes = service.maxMessageBytes
    this.#service = service
    this.#over = over
  }

  open(stream: ServerStream, headers: StreamHeaders): StreamHandler {
    const measured = new MeasuredStream(stream, this.#over)
    measured.handler = this.#service.open(measured, headers)
    return measured
  }
}

/** Stands between a service and a transport, for one stream. */
class MeasuredStream implements ServerStream, StreamHandler {
  handler!: StreamHandler
  readonly #stream: ServerStream
  readonly #over: StreamOver
  readonly #startedAt = performance.now()
  #told = false

  constructor(stream: ServerStream, over: StreamOver) {
    this.#stream = stream
    this.#over = over
  }

  get pendingBytes(): number {
    return this.#stream.pendingBytes
  }

  send(bytes: Uint8Array): void {
    this.#stream.send(bytes)
  }

  sendPart(bytes: Uint8Array, start: number, end: number): void {
    if (this.#stream.sendPart === undefined) this.#stream.send(bytes.subarray(start, end))
    else this.#stream.sendPart(bytes, start, end)
  }

  grant(bytes: number): void {
    this.#stream.grant(bytes)
  }

  end(status: GrpcStatus, message?: string): void {
    this.#tell(status)
    if (message === undefined) this.#stream.end(status)
    else this.#stream.end(status, message)
  }

  data(part: Uint8Array, remaining: number): void {
    this.handler.data(part, remaining)
  }

  message(bytes: Buffer, start: number, end: number): void {
    const { handler } = this
    if (handler.message === undefined) handler.data(bytes.subarray(start, end), 0)
    else handler.message(bytes, start, end)
  }

  closed(how: StreamEnd): void {
    this.handler.closed(how)
    if (how !== StreamEnd.HALF_CLOSED) this.#tell(GrpcStatus.CANCELLED)
  }

  peerEnded(): void {
    this.handler.peerEnded?.()
  }

  drained(): void {
    this.handler.drained?.()
  }

  #tell(status: GrpcStatus): void {
    if (this.#told) return
    this.#told = true
    this.#over(NAMES.get(status) ?? 'Unknown', (performance.now() - this.#startedAt) / 1000)
  }
}
