import type { FileTexts } from './load-files.ts'

/**
 * Files that are written in place are torn for a moment, and one of YAML that is cut at a line's end is good YAML, with less in it. One that
 * is less than half as long as it was is believed only when it has stayed as it is for `patienceMs`; until then it is as it was.
 */
export class TornFiles {
  readonly #patienceMs: number
  readonly #nowMs: () => number
  /** As they are believed. */
  readonly #believed = new Map<string, FileTexts>()
  readonly #doubted = new Map<string, { readonly text: string; readonly untilMs: number }>()

  constructor(patienceMs: number, nowMs: () => number = () => performance.now()) {
    this.#patienceMs = patienceMs
    this.#nowMs = nowMs
  }

  /** What to take for the file, of which `read` was just read. */
  judge(path: string, read: FileTexts): FileTexts {
    const text = read.texts[0]?.text
    // A file that can't be read is an error, and no news.
    if (text === undefined) {
      this.#doubted.delete(path)
      return read
    }
    const before = this.#believed.get(path)
    if (before !== undefined && text.length * 2 < before.texts[0]!.text.length) {
      const now = this.#nowMs()
      const doubted = this.#doubted.get(path)
      if (doubted?.text !== text) this.#doubted.set(path, { text, untilMs: now + this.#patienceMs })
      if (doubted?.text !== text || now < doubted.untilMs) return before
    }
    this.#doubted.delete(path)
    this.#believed.set(path, read)
    return read
  }

  /** When a file is to be read again that is not believed, in ms from now; undefined: there is none. */
  get waitMs(): number | undefined {
    const untils = [...this.#doubted.values()].map(({ untilMs }) => untilMs)
    return untils.length === 0 ? undefined : Math.max(0, Math.ceil(Math.min(...untils) - this.#nowMs()))
  }

  /** Forgets all other files. */
  keepOnly(paths: ReadonlySet<string>): void {
    for (const path of this.#believed.keys()) {
      if (paths.has(path)) continue
      this.#believed.delete(path)
      this.#doubted.delete(path)
    }
  }
}
