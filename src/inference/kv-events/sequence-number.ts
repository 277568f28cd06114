import type { Buffer } from 'node:buffer'

/** Eight bytes, big-endian; undefined for anything else, and beyond 2⁵³. */
export function readSequence(frame: Buffer | undefined): number | undefined {
  if (frame?.length !== 8) return undefined
  const value = frame.readUInt32BE(0) * 2 ** 32 + frame.readUInt32BE(4)
  return Number.isSafeInteger(value) ? value : undefined
}
