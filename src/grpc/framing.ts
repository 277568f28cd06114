/**
 * gRPC length-prefixed messages (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): one byte flags, four bytes
 * length (big endian), then the message.
 */

export const PREFIX_BYTES = 5

/** Writes the prefix of an uncompressed message of `length` bytes at `offset`. Returns the offset behind it. */
export function writePrefix(target: Uint8Array, offset: number, length: number): number {
  target[offset] = 0
  target[offset + 1] = length >>> 24
  target[offset + 2] = length >>> 16
  target[offset + 3] = length >>> 8
  target[offset + 4] = length
  return offset + PREFIX_BYTES
}

/** A prefixed copy of `message`. */
export function frameMessage(message: Uint8Array): Uint8Array {
  const framed = new Uint8Array(PREFIX_BYTES + message.length)
  framed.set(message, writePrefix(framed, 0, message.length))
  return framed
}
