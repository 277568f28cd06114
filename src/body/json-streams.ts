/** Hands the raw bytes of `stream` fields to a sink while they are scanned. Wanted values may lie in each other. */
import type { ScanProgram } from './json-program.ts'

/** Receives raw bytes of a `stream` field; the chunk is only lent for the call, which must not throw or call the scanner. */
export type ScanSink = (wantedIndex: number, chunk: Uint8Array, start: number, end: number) => void

export class ValueStreams {
  sink: ScanSink | undefined
  readonly #program: ScanProgram
  /** Open values, outermost first, and from where in the chunk their bytes are still to be sent. */
  readonly #nodes: Int32Array
  readonly #from: Int32Array
  #open = 0

  constructor(program: ScanProgram) {
    this.#program = program
    this.#nodes = new Int32Array(program.nodes.length)
    this.#from = new Int32Array(program.nodes.length)
  }

  reset(): void {
    this.#open = 0
  }

  /** A new chunk begins at `start`. */
  resume(start: number): void {
    for (let i = 0; i < this.#open; i++) this.#from[i] = start
  }

  /** The first value of `node` starts at position `p`. */
  begin(node: number, p: number): void {
    if (this.#program.nodes[node]!.stream < 0) return
    this.#nodes[this.#open] = node
    this.#from[this.#open++] = p
  }

  /** A value of `node` ends before position `p`. */
  end(node: number, chunk: Uint8Array, p: number): void {
    if (this.#open > 0 && this.#nodes[this.#open - 1] === node) this.#emit(--this.#open, chunk, p)
  }

  /** The chunk is used up. */
  flush(chunk: Uint8Array, end: number): void {
    for (let i = 0; i < this.#open; i++) this.#emit(i, chunk, end)
  }

  #emit(index: number, chunk: Uint8Array, end: number): void {
    const from = this.#from[index]!
    if (from < end) this.sink?.(this.#program.nodes[this.#nodes[index]!]!.stream, chunk, from, end)
  }
}
