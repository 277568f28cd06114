/** What the suites of the transport seam share: servers and clients that are gone when a test ends. */
import { Client, Metadata, credentials } from '@grpc/grpc-js'
import type { ClientDuplexStream, StatusObject } from '@grpc/grpc-js'
import { afterEach } from '@jest/globals'
import { frameMessage } from '../framing.ts'
import type { TransportOptions } from '../transport-options.ts'
import { GrpcStatus } from '../transport.ts'
import type { TransportServer } from '../transport.ts'
import { END_STREAM, FrameType, RawHttp2Client } from './raw-http2-client.ts'
import { RecordingService } from './recording-service.ts'

export type Listen = (options: TransportOptions) => Promise<TransportServer>

export interface GrpcCall {
  readonly stream: ClientDuplexStream<Buffer, Buffer>
  readonly messages: Buffer[]
  readonly status: Promise<StatusObject>
}

const same = (bytes: Buffer): Buffer => bytes

export class Harness {
  /** Echoes each message, and ends when the client does. */
  readonly echo = new RecordingService('/test.Echo/Run', {
    part: ({ stream }, part) => stream.grant(part.length),
    message: ({ stream }, message) => stream.send(frameMessage(message)),
    halfClosed: ({ stream }) => stream.end(GrpcStatus.OK),
  })
  private readonly listen: Listen
  private readonly cleanups: (() => unknown)[] = []

  constructor(listen: Listen) {
    this.listen = listen
    afterEach(async () => {
      for (const cleanup of this.cleanups.splice(0).toReversed()) await cleanup()
    })
  }

  /** Called when the test is over, last come first. */
  afterwards(cleanup: () => unknown): void {
    this.cleanups.push(cleanup)
  }

  async serve(
    services: readonly RecordingService[],
    options: Partial<TransportOptions> = {},
  ): Promise<TransportServer & { errors: unknown[] }> {
    const errors: unknown[] = []
    const server = await this.listen({
      services,
      listen: { host: '127.0.0.1', port: 0 },
      onError: error => errors.push(error),
      ...options,
    })
    this.afterwards(() => server.close())
    return Object.assign(server, { errors })
  }

  async raw(server: TransportServer): Promise<RawHttp2Client> {
    const client = await RawHttp2Client.connect(server.port)
    this.afterwards(() => client.destroy())
    return client
  }

  /** A grpc-js call with messages as bytes. */
  call(server: TransportServer, path: string): GrpcCall {
    const client = new Client(server.address, credentials.createInsecure())
    this.afterwards(() => client.close())
    const stream = client.makeBidiStreamRequest<Buffer, Buffer>(path, same, same, new Metadata())
    const messages: Buffer[] = []
    stream.on('data', (message: Buffer) => messages.push(message))
    // Every bad status is also emitted as an error.
    stream.on('error', () => {})
    const status = new Promise<StatusObject>(resolve => stream.once('status', resolve))
    return { stream, messages, status }
  }
}

/** Payloads of the DATA frames of a stream. */
export function received(client: RawHttp2Client, stream: number): Buffer {
  return Buffer.concat(client.of(FrameType.DATA, stream).map(({ payload }) => payload))
}

/** True when the server has ended the stream. */
export function ended(client: RawHttp2Client, stream: number): boolean {
  return client.frames.some(({ stream: id, flags, type }) => id === stream && type <= 1 && (flags & END_STREAM) !== 0)
}
