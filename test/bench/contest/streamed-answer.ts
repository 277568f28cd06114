/** What a client learns from a streamed answer while it comes. */

const TEXT = /"(?:text|content)":"(?!")/
const USAGE = /"completion_tokens":(\d+)/

export class StreamedAnswer {
  /** When the first piece of text came, by the clock of whoever feeds this; and the last so far. */
  firstTokenAt: number | undefined
  lastTokenAt: number | undefined
  /** As the server counted them. */
  completionTokens = 0
  /** The stream came to its proper end. */
  done = false
  #rest = ''

  /** A part of the body, cut anywhere, which came at `now`. */
  feed(part: string, now: number): void {
    const lines = (this.#rest + part).split('\n')
    this.#rest = lines.pop()!
    for (const line of lines) {
      if (TEXT.test(line)) {
        this.firstTokenAt ??= now
        this.lastTokenAt = now
      }
      const usage = USAGE.exec(line)
      if (usage !== null) this.completionTokens = Number(usage[1])
      if (line.startsWith('data: [DONE]')) this.done = true
    }
  }
}
