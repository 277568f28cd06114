/** gRPC health checking (grpc.health.v1.Health: Check and Watch) on the transport seam. */
import { frameMessage } from './framing.ts'
import { decodeHealthRequest, encodeHealthResponse } from './health-codec.ts'
import { GrpcStatus, StreamEnd } from './transport.ts'
import type { ServerStream, StreamHandler, StreamService } from './transport.ts'

export const ServingStatus = { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const
export type ServingStatus = (typeof ServingStatus)[keyof typeof ServingStatus]

/** Names that gateways and charts ask for (reference/epp.md §1.1), and Envoy's own. */
export const HEALTH_NAMES = {
  /** The server as a whole. */
  OVERALL: '',
  /** The process lives; says nothing about its data. */
  LIVENESS: 'liveness',
  READINESS: 'readiness',
  EXT_PROC: 'envoy.service.ext_proc.v3.ExternalProcessor',
  INFERENCE_EXTENSION: 'inference-extension',
} as const

const MAX_REQUEST_BYTES = 4096

export class HealthService {
  /** Both methods, to be listed among a listener's services. */
  readonly services: readonly StreamService[]
  private readonly statuses = new Map<string, ServingStatus>()
  private readonly watchers = new Map<string, Set<HealthCall>>()

  /** All names of `HEALTH_NAMES` start as NOT_SERVING, except that the process is alive. */
  constructor() {
    for (const name of Object.values(HEALTH_NAMES)) this.statuses.set(name, ServingStatus.NOT_SERVING)
    this.statuses.set(HEALTH_NAMES.LIVENESS, ServingStatus.SERVING)
    this.services = [
      this.method('Check', (call, name) => this.check(call, name)),
      this.method('Watch', (call, name) => this.watch(call, name)),
    ]
  }

  /** Sets one name and tells its watchers. */
  set(name: string, status: ServingStatus): void {
    if (this.statuses.get(name) === status) return
    this.statuses.set(name, status)
    for (const call of this.watchers.get(name) ?? []) call.send(status)
  }

  /** Sets every name but `liveness`: to SERVING when ready, to NOT_SERVING before, after and during a drain. */
  setReady(ready: boolean): void {
    const status = ready ? ServingStatus.SERVING : ServingStatus.NOT_SERVING
    for (const name of this.statuses.keys()) if (name !== HEALTH_NAMES.LIVENESS) this.set(name, status)
  }

  private check(call: HealthCall, name: string): void {
    const status = this.statuses.get(name)
    if (status === undefined) {
      call.end(GrpcStatus.NOT_FOUND, 'unknown service')
      return
    }
    call.send(status)
    call.end(GrpcStatus.OK)
  }

  private watch(call: HealthCall, name: string): void {
    let calls = this.watchers.get(name)
    if (calls === undefined) {
      calls = new Set()
      this.watchers.set(name, calls)
    }
    const all = calls
    all.add(call)
    call.onClosed = () => {
      all.delete(call)
      // Names come from clients: those that nobody watches any more must not stay.
      if (all.size === 0 && this.watchers.get(name) === all) this.watchers.delete(name)
    }
    call.send(this.statuses.get(name) ?? ServingStatus.SERVICE_UNKNOWN)
  }

  private method(name: string, serve: (call: HealthCall, service: string) => void): StreamService {
    return {
      path: `/grpc.health.v1.Health/${name}`,
      maxMessageBytes: MAX_REQUEST_BYTES,
      open: stream => new HealthCall(stream, serve),
    }
  }
}

/** One call: a single request, served when the client has finished sending, as unary calls are. */
class HealthCall implements StreamHandler {
  onClosed: (() => void) | undefined
  private readonly stream: ServerStream
  private readonly serve: (call: HealthCall, service: string) => void
  private readonly parts: Uint8Array[] = []
  private messages = 0

  constructor(stream: ServerStream, serve: (call: HealthCall, service: string) => void) {
    this.stream = stream
    this.serve = serve
  }

  data(part: Uint8Array, remaining: number): void {
    // A copy: parts belong to the transport.
    this.parts.push(new Uint8Array(part))
    if (remaining === 0 && ++this.messages > 1) this.end(GrpcStatus.INTERNAL, 'more than one request')
  }

  closed(how: StreamEnd): void {
    if (how !== StreamEnd.HALF_CLOSED) {
      this.onClosed?.()
      return
    }
    if (this.messages === 0) {
      this.end(GrpcStatus.INTERNAL, 'no request')
      return
    }
    const service = decodeHealthRequest(Buffer.concat(this.parts))
    if (service === undefined) this.end(GrpcStatus.INTERNAL, 'malformed request')
    else this.serve(this, service)
  }

  send(status: ServingStatus): void {
    this.stream.send(frameMessage(encodeHealthResponse(status)))
  }

  end(status: GrpcStatus, message?: string): void {
    this.stream.end(status, message)
  }
}
