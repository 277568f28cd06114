/** Access log targets: files that are appended to, and the streams of the process. */
import { createWriteStream, type WriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { EmbeddedLog } from './embedded.ts'

export class LogFiles {
  readonly #log: EmbeddedLog
  readonly #files = new Map<string, WriteStream>()

  constructor(log: EmbeddedLog) {
    this.#log = log
  }

  write(target: string, line: string): void {
    if (target === '/dev/stdout') process.stdout.write(line)
    else if (target === '/dev/stderr') process.stderr.write(line)
    else this.#file(target).write(line)
  }

  #file(path: string): WriteStream {
    const known = this.#files.get(path)
    if (known !== undefined) return known
    const file = createWriteStream(path, { flags: 'a' })
    file.on('error', error => {
      this.#log.error({ path, error }, 'access log cannot be written')
      // The next line tries again.
      this.#files.delete(path)
    })
    this.#files.set(path, file)
    return file
  }

  async close(): Promise<void> {
    const files = [...this.#files.values()]
    this.#files.clear()
    await Promise.all(
      files.map(async file => {
        file.end()
        await finished(file).catch(() => undefined)
      }),
    )
  }
}
