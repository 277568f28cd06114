import type { GrpcStatus } from '../grpc/transport.ts'
import { GrpcStatus as Status } from '../grpc/transport.ts'
import type { MetadataNumbers } from './encode-metadata.ts'
import { type Direction, writeStreamedHead } from './encode-response.ts'
import type { Exchange } from './exchange.ts'

/** The ways out of an exchange: everything written leaves through here, in order. */

/** Hands what was written to the transport. */
export function flush(x: Exchange): void {
  const { out } = x.context
  if (out.pending > 0) out.sendTo(x.stream)
}

/** Ends the stream with OK: only after the decision is written, or where there is nothing to decide. */
export function finish(x: Exchange): void {
  if (x.finished) return
  flush(x)
  x.finished = true
  x.stream.end(Status.OK)
}

/** Ends the stream with an error: Envoy then fails closed or open as configured. */
export function fail(x: Exchange, status: GrpcStatus, message: string): void {
  if (x.finished) return
  flush(x)
  x.finished = true
  x.stream.end(status, message)
}

/**
 * Returns bytes of a body as `streamed_response` chunks: what was held (and is ours), or what this very call of the transport brought. Large
 * ones are not copied. `numbers` go with the last one.
 */
export function echo(
  x: Exchange,
  direction: Direction,
  bytes: Uint8Array,
  start: number,
  end: number,
  last: boolean,
  numbers?: MetadataNumbers,
): void {
  const { out, maxChunkBytes } = x.context
  do {
    const until = Math.min(end, start + maxChunkBytes)
    const size = until - start
    writeStreamedHead(out, direction, size, last && until === end, until === end ? numbers : undefined)
    if (size <= COPY_BYTES) {
      // Small bodies go into the slab: one buffer for the transport instead of three.
      out.rawPart(bytes, start, until)
    } else {
      flush(x)
      const { stream } = x
      if (stream.sendPart === undefined) stream.send(bytes.subarray(start, until))
      else stream.sendPart(bytes, start, until)
    }
    start = until
  } while (start < end)
}

const COPY_BYTES = 2048
