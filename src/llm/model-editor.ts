import { FieldType } from '../body/json-fields.ts'
import { compileScan } from '../body/json-program.ts'
import { JsonScanner, ScanState } from '../body/json-scan.ts'
import { jsonString, type Replacement, spliceChunk } from '../body/splice.ts'

/** The model of a response, of that of the Responses API in its events, and of Anthropic's first event. */
const FIELDS = [['model'], ['response', 'model'], ['message', 'model']] as const
const PROGRAM = compileScan(FIELDS.map(path => ({ path, kind: 'text' })))
/** Beyond so many bytes nothing is held back any more, and the rest passes as it is. */
const MAX_HELD_BYTES = 1024 * 1024
const LF = 0x0a
const CR = 0x0d
const DATA = Buffer.from('data:')
const NOTHING = Buffer.alloc(0)

/**
 * Puts the name that a client asked for in the place of the one that the engine was asked for, in a response that passes: only where it is
 * the value of the field `model`, and only if it is that very name. Bytes are held back while they may have to change: in a JSON
 * body those of the value itself, in a stream those of a line that has begun.
 */
export class ModelEditor {
  #from = ''
  #needle = NOTHING
  #to: Uint8Array = NOTHING
  #streams = false
  #passes = false
  #held = NOTHING
  /** Of the first held byte in the response. */
  #offset = 0
  readonly #json = new JsonScanner(PROGRAM)

  /** `from` becomes `to`. `streams`: it is an event stream, else a JSON body. */
  begin(from: string, to: string, streams: boolean): void {
    this.#from = from
    this.#to = jsonString(to)
    // Of a name with escapes every line is looked into.
    const json = Buffer.from(jsonString(from))
    this.#needle = json.includes(0x5c) ? NOTHING : json
    this.#streams = streams
    this.#passes = false
    this.#held = NOTHING
    this.#offset = 0
    this.#json.reset()
  }

  /** The bytes to pass on instead of these, which are not kept; `last`: nothing follows. */
  edit(bytes: Uint8Array, start: number, end: number, last: boolean): Uint8Array {
    const piece = bytes.subarray(start, end)
    if (this.#passes) return piece
    const whole = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece])
    const replacements: Replacement[] = []
    const ready = this.#streams ? this.#lines(whole, last, replacements) : this.#body(whole, piece, last, replacements)
    const kept = whole.length - ready
    const edited = spliceChunk(ready === whole.length ? whole : whole.subarray(0, ready), this.#offset, replacements)
    this.#offset += ready
    if (kept > MAX_HELD_BYTES) {
      this.#passes = true
      this.#held = NOTHING
      return Buffer.concat([edited, whole.subarray(ready)])
    }
    this.#held = kept === 0 ? NOTHING : Buffer.from(whole.subarray(ready))
    return edited
  }

  /** How many of the bytes may go; edits are by offset in the response. */
  #body(whole: Uint8Array, piece: Uint8Array, last: boolean, replacements: Replacement[]): number {
    const json = this.#json
    const state = json.feed(piece)
    let ready = whole.length
    for (let field = 0; field < FIELDS.length; field++) {
      const start = json.start(field)
      if (json.type(field) !== FieldType.STRING || start < this.#offset) continue
      if (json.complete(field)) this.#replace(field, 0, replacements)
      else if (!last && state !== ScanState.INVALID) ready = Math.min(ready, start - this.#offset)
    }
    replacements.sort((a, b) => a.start - b.start)
    return ready
  }

  #lines(whole: Uint8Array, last: boolean, replacements: Replacement[]): number {
    let at = 0
    while (at < whole.length) {
      let end = at
      while (end < whole.length && whole[end] !== LF && whole[end] !== CR) end++
      // What cannot become a line of data may go at once.
      if (end === whole.length && !last && beginsData(whole, at)) return at
      if (end - at > DATA.length && beginsData(whole, at)) this.#line(whole, at + DATA.length, end, replacements)
      at = end + 1
    }
    return whole.length
  }

  #line(whole: Uint8Array, start: number, end: number, replacements: Replacement[]): void {
    if (this.#needle.length > 0 && !Buffer.prototype.includes.call(whole.subarray(start, end), this.#needle)) return
    const json = this.#json
    json.reset()
    json.feed(whole, start, end)
    if (json.finish() !== ScanState.DONE) return
    const first = replacements.length
    for (let field = 0; field < FIELDS.length; field++) {
      if (json.type(field) === FieldType.STRING && json.complete(field))
        this.#replace(field, this.#offset + start, replacements)
    }
    if (replacements.length - first > 1) replacements.sort((a, b) => a.start - b.start)
  }

  #replace(field: number, base: number, replacements: Replacement[]): void {
    const json = this.#json
    if (json.tooLong(field) || json.text(field) !== this.#from) return
    replacements.push({ start: base + json.start(field), end: base + json.end(field), bytes: this.#to })
  }
}

/** The line that begins at `at` is one of data, or may become one. */
function beginsData(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < DATA.length && at + i < bytes.length; i++) if (bytes[at + i] !== DATA[i]) return false
  return true
}
