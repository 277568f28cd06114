/** What a scan of the JSON scanner's tests comes to. */
import { expect } from '@jest/globals'
import { compileScan, type ScanLimits, type Wanted } from './json-program.ts'
import { JsonScanner, ScanState } from './json-scan.ts'
import { feedLent } from './testing.ts'

export const WANTED: readonly Wanted[] = [
  { path: ['model'], kind: 'text' },
  { path: ['a', 'b'], kind: 'text' },
  { path: ['a'], kind: 'span' },
  { path: ['messages'], kind: 'stream' },
  { path: ['messages', 'é'], kind: 'stream' },
  { path: ['', 'model'], kind: 'text' },
  { path: [], kind: 'span' },
]

export interface Outcome {
  readonly state: ScanState
  readonly error: unknown
  readonly offset: number
  readonly fields: readonly unknown[]
  readonly streamed: readonly string[]
}

export function outcomeOf(scanner: JsonScanner, wanted: readonly Wanted[], chunks: readonly Uint8Array[]): Outcome {
  const streamed = wanted.map(() => '')
  scanner.sink = (index, chunk, start, end) => {
    expect(start).toBeLessThan(end)
    streamed[index] += Buffer.from(chunk.subarray(start, end)).toString('latin1')
  }
  feedLent(chunks, chunk => scanner.feed(chunk))
  const state = scanner.finish()
  const fields = wanted.map((_, i) => ({
    type: scanner.type(i),
    text: scanner.text(i),
    start: scanner.start(i),
    end: scanner.end(i),
    complete: scanner.complete(i),
    count: scanner.count(i),
    repeated: scanner.repeated(i),
    tooLong: scanner.tooLong(i),
  }))
  // What is streamed of a broken body depends on the chunks, and says so.
  return {
    state,
    error: scanner.error,
    offset: scanner.offset,
    fields,
    streamed: state === ScanState.DONE ? streamed : [],
  }
}

export function scan(body: string | Uint8Array, wanted: readonly Wanted[] = WANTED, limits?: ScanLimits): Outcome {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  return outcomeOf(new JsonScanner(compileScan(wanted, limits)), wanted, [bytes])
}
