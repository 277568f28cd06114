/** Chunkings for the tests of this folder. */
import * as fc from 'fast-check'

/** `bytes` cut at these positions (any order, any range). */
export function cutAt(bytes: Uint8Array, positions: readonly number[]): Uint8Array[] {
  const cuts = [...new Set(positions.map(position => position % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...cuts].map((from, index) => bytes.subarray(from, cuts[index] ?? bytes.length))
}

function chunksOfSize(bytes: Uint8Array, size: number): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
  return chunks
}

/** The whole, every cut in two, and small chunks of several sizes. */
export function everySplit(bytes: Uint8Array): Uint8Array[][] {
  const inTwo = Array.from({ length: bytes.length }, (_, at) => cutAt(bytes, [at]))
  return [[bytes], ...inTwo, ...[1, 2, 3, 5, 7].map(size => chunksOfSize(bytes, size))]
}

export const cutPositions = fc.array(fc.nat(10_000), { maxLength: 8 })

/** Feeds copies that are overwritten afterwards, so that a reader that keeps a chunk is found out. */
export function feedLent<T>(chunks: readonly Uint8Array[], feed: (chunk: Uint8Array) => T): T | undefined {
  let result: T | undefined
  for (const chunk of chunks) {
    const lent = Uint8Array.from(chunk)
    result = feed(lent)
    lent.fill(0x22)
  }
  return result
}

/** A small deterministic generator of 32-bit numbers (xorshift). */
export function random(seed: number): (below: number) => number {
  let x = seed | 1
  return below => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % below
  }
}

/** One to four random edits that tend to hit structure. */
export function mutate(bytes: Uint8Array, alphabet: string, pick: (below: number) => number): Buffer {
  let text = Buffer.from(bytes).toString('latin1')
  for (let edits = 1 + pick(4); edits > 0; edits--) {
    const at = pick(text.length + 1)
    const length = pick(6)
    const insert =
      pick(2) === 0 ? alphabet[pick(alphabet.length)]! : text.slice(pick(text.length + 1)).slice(0, pick(30))
    text = text.slice(0, at) + (pick(3) === 0 ? '' : insert) + text.slice(at + length * pick(2))
  }
  return Buffer.from(text, 'latin1')
}
