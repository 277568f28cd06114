import { Buffer } from 'node:buffer'

export type Packable = null | number | bigint | string | readonly Packable[]

/** MessagePack of what events consist of: whole numbers that fit get an integer type, others are floats; a bigint is a uint64. */
export function pack(value: Packable): Buffer {
  const parts: Buffer[] = []
  add(value, parts)
  return Buffer.concat(parts)
}

function add(value: Packable, parts: Buffer[]): void {
  if (value === null) parts.push(Buffer.from([0xc0]))
  else if (typeof value === 'bigint') parts.push(head(0xcf, 8, bytes => bytes.writeBigUInt64BE(value, 1)))
  else if (typeof value === 'number') parts.push(number(value))
  else if (typeof value === 'string') {
    const text = Buffer.from(value)
    parts.push(
      text.length < 32
        ? Buffer.from([0xa0 | text.length])
        : head(0xdb, 4, bytes => bytes.writeUInt32BE(text.length, 1)),
      text,
    )
  } else {
    parts.push(
      value.length < 16
        ? Buffer.from([0x90 | value.length])
        : head(0xdd, 4, bytes => bytes.writeUInt32BE(value.length, 1)),
    )
    for (const element of value) add(element, parts)
  }
}

function number(value: number): Buffer {
  if (Number.isInteger(value) && value >= 0 && value < 0x80) return Buffer.from([value])
  if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff)
    return head(0xce, 4, bytes => bytes.writeUInt32BE(value, 1))
  return head(0xcb, 8, bytes => bytes.writeDoubleBE(value, 1))
}

function head(type: number, size: number, write: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(1 + size)
  bytes[0] = type
  write(bytes)
  return bytes
}
