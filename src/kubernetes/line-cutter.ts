/** A line is longer than its reader allows. */
export class LineTooLongError extends Error {
  readonly code = 'line-too-long'
}

/** Cuts a byte stream into lines. What isn't a whole line yet is held, up to a limit. */
export class LineCutter {
  readonly #maxBytes: number
  #parts: Buffer[] = []
  #held = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /**
   * The lines that `chunk` completes, without their ends; empty ones are left out.
   * @throws LineTooLongError
   */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      this.#hold(chunk.subarray(start, end))
      const line = (this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)).toString('utf8')
      if (line.trim() !== '') lines.push(line)
      this.#parts = []
      this.#held = 0
      start = end + 1
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start))
    return lines
  }

  #hold(part: Buffer): void {
    this.#held += part.length
    if (this.#held > this.#maxBytes) throw new LineTooLongError(`a line has more than ${this.#maxBytes} bytes`)
    this.#parts.push(part)
  }
}
