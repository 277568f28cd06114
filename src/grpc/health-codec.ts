/** The two messages of grpc.health.v1: `HealthCheckRequest { string service = 1 }`, `HealthCheckResponse { enum status = 1 }`. */

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Name of the service asked for, `''` when absent. Unknown fields are skipped. `undefined`: not a valid message. */
export function decodeHealthRequest(bytes: Uint8Array): string | undefined {
  let service = ''
  let at = 0
  /** Moves `at` behind a varint. NaN at the end of the bytes or beyond 2^53. */
  const varint = (): number => {
    let value = 0
    for (let factor = 1; factor < 2 ** 50; factor *= 128) {
      const byte = bytes[at++]
      if (byte === undefined) return Number.NaN
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
    return Number.NaN
  }
  while (at < bytes.length) {
    const tag = varint()
    const wireType = tag % 8
    if (wireType === 0) {
      // Ten bytes are allowed for a varint whose value does not matter.
      let length = 1
      while (bytes[at++]! >= 128 && length < 10) length++
    } else if (wireType === 1) at += 8
    else if (wireType === 5) at += 4
    else if (wireType === 2) {
      const length = varint()
      if (tag === 0x0a && at + length <= bytes.length) {
        try {
          service = utf8.decode(bytes.subarray(at, at + length))
        } catch {
          return undefined
        }
      }
      at += length
    } else return undefined
    if (!(at <= bytes.length)) return undefined
  }
  return service
}

/** `status` as a message; it is below 128, so one byte. */
export function encodeHealthResponse(status: number): Uint8Array {
  return status === 0 ? new Uint8Array(0) : Uint8Array.of(0x08, status)
}
