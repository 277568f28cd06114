import { createWriteStream, type WriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'

/** A line that finds so many bytes waiting to be written is dropped. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024

export interface LineFileOptions {
  readonly path: string
  /** Of one file; when it is reached, `path` becomes `path.1`, that `path.2`, and so on. */
  readonly maxBytes: number
  /** Files kept, that which is written included. */
  readonly files: number
  /** Told of the first error after a good write: lines are dropped while it lasts. */
  readonly onError: (error: Error) => void
}

/** Appends lines to a file of bounded size. Never blocks and never throws: a line that cannot be written is lost. */
export class LineFile {
  dropped = 0
  readonly #options: LineFileOptions
  #stream: WriteStream | undefined
  #bytes = 0
  #failed = false
  /** Opening, turning over and closing, one after the other. */
  #work: Promise<void>
  #turning = true
  #waiting: string[] = []
  #waitingBytes = 0

  constructor(options: LineFileOptions) {
    this.#options = options
    this.#work = this.#open()
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line) + 1
    if (this.#waitingBytes + (this.#stream?.writableLength ?? 0) + bytes > MAX_PENDING_BYTES) {
      this.dropped++
      return
    }
    if (this.#turning || this.#stream === undefined) {
      this.#waiting.push(line)
      this.#waitingBytes += bytes
      return
    }
    this.#append(line, bytes)
  }

  /** Resolves when no file is being opened or turned over. */
  async idle(): Promise<void> {
    await this.#work
  }

  /** Resolves when all that was written is in the file. */
  async close(): Promise<void> {
    await this.#work
    const stream = this.#stream
    this.#stream = undefined
    if (stream !== undefined)
      await new Promise<void>(resolve => stream.end(() => resolve()).once('error', () => resolve()))
  }

  #append(line: string, bytes: number): void {
    this.#stream!.write(`${line}\n`)
    this.#bytes += bytes
    if (this.#bytes >= this.#options.maxBytes) this.#work = this.#turn()
  }

  async #turn(): Promise<void> {
    this.#turning = true
    const { path, files } = this.#options
    const old = this.#stream!
    await new Promise<void>(resolve => old.end(() => resolve()).once('error', () => resolve()))
    try {
      if (files === 1) await rm(path, { force: true })
      for (let n = files - 1; n >= 1; n--)
        await rename(n === 1 ? path : `${path}.${n - 1}`, `${path}.${n}`).catch(ignoreMissing)
    } catch (error) {
      this.#fail(error as Error)
    }
    await this.#open()
  }

  async #open(): Promise<void> {
    const { path } = this.#options
    this.#bytes = await stat(path).then(
      ({ size }) => size,
      () => 0,
    )
    const stream = createWriteStream(path, { flags: 'a' })
    stream.on('error', error => {
      this.#fail(error)
      if (this.#stream === stream) this.#stream = undefined
    })
    this.#stream = stream
    this.#turning = false
    const waiting = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    for (const line of waiting) this.write(line)
  }

  #fail(error: Error): void {
    if (this.#failed) return
    this.#failed = true
    this.#options.onError(error)
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
