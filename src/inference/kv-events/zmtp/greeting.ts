/**
 * The first 64 bytes of a ZMTP 3 connection (RFC 23 and 37): signature, version, security mechanism. Ours says 3.1 and NULL; peers that
 * speak 3.0 are served as such.
 */
import { Buffer } from 'node:buffer'

export const GREETING_BYTES = 64

export class ZmtpError extends Error {
  readonly code = 'zmtp'
  constructor(message: string) {
    super(message)
    this.name = 'ZmtpError'
  }
}

export function greeting(): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES)
  bytes[0] = 0xff
  bytes[9] = 0x7f
  bytes[10] = 3
  bytes[11] = 1
  bytes.write('NULL', 12, 'latin1')
  return bytes
}

/** The peer's minor version. `bytes` holds `GREETING_BYTES`. @throws ZmtpError for what is no ZMTP 3 without security */
export function readGreeting(bytes: Buffer): number {
  if (bytes[0] !== 0xff || (bytes[9]! & 1) === 0) throw new ZmtpError('the peer does not speak ZMTP')
  const major = bytes[10]!
  if (major < 3) throw new ZmtpError(`the peer speaks ZMTP ${major}, not 3`)
  const mechanism = bytes.toString('latin1', 12, 32).replace(/\0+$/, '')
  if (mechanism !== 'NULL') throw new ZmtpError(`the peer wants the security mechanism ${JSON.stringify(mechanism)}`)
  return major > 3 ? 1 : bytes[11]!
}

/** Whether a connection cannot become one, by what has come so far: a web server's answer is shorter than a greeting. */
export function isForeign(bytes: Buffer): boolean {
  return bytes.length > 0 && bytes[0] !== 0xff
}
