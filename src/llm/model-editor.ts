import { FieldType } from '../body/json-fields.ts'
import { compileScan } from '../body/json-program.ts'
import { JsonScanner } from '../body/json-scan.ts'
import { jsonString, type Replacement, spliceChunk } from '../body/splice.ts'

/** The model of a response, of that of the Responses API in its events, and of Anthropic's first event. */
const FIELDS = [['model'], ['response', 'model'], ['message', 'model']] as const
/** A longer value has no text to be compared. */
const MAX_NAME_BYTES = 4096
const PROGRAM = compileScan(
  FIELDS.map(path => ({ path, kind: 'text' })),
  { maxTextBytes: MAX_NAME_BYTES },
)
/** Of a UTF-16 unit in JSON: an escape. */
const MAX_UNIT_BYTES = 6
const LF = 0x0a
const CR = 0x0d
const DATA = Buffer.from('data:')
const NOTHING = Buffer.alloc(0)
/** Of a line that is none of data. */
const OTHER_LINE = -1

/**
 * Puts the name that a client asked for in the place of the one that the engine was asked for, in a response that passes: only where it is
 * the value of the field `model`, and only if it is that very name. Bytes are held back while they may have to change: those of such a
 * value that has begun, and no more than that name may have.
 */
export class ModelEditor {
  #from = ''
  #needle = NOTHING
  #to: Uint8Array = NOTHING
  #maxHeldBytes = 0
  #streams = false
  #held: Uint8Array = NOTHING
  /** Of the first held byte in the response. */
  #offset = 0
  readonly #json = new JsonScanner(PROGRAM)
  /** Where the JSON that is scanned begins in the response; −1: none is. */
  #jsonAt = -1
  /** Of a stream's line: how many bytes of `data:` it has, or `OTHER_LINE`. */
  #lineBytes = 0

  /** `from` becomes `to`. `streams`: it is an event stream, else a JSON body. */
  begin(from: string, to: string, streams: boolean): void {
    this.#from = from
    this.#to = jsonString(to)
    // Of a name with escapes every line is looked into.
    const json = Buffer.from(jsonString(from))
    this.#needle = json.includes(0x5c) ? NOTHING : json
    this.#maxHeldBytes = Math.min(MAX_NAME_BYTES, MAX_UNIT_BYTES * from.length) + 2
    this.#streams = streams
    this.#held = NOTHING
    this.#offset = 0
    this.#lineBytes = 0
    this.#jsonAt = -1
    if (!streams) this.#beginJson(0)
  }

  /** The bytes to pass on instead of these, which are not kept; `last`: nothing follows. */
  edit(bytes: Uint8Array, start: number, end: number, last: boolean): Uint8Array {
    const piece = bytes.subarray(start, end)
    const whole = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece])
    const replacements: Replacement[] = []
    if (this.#streams) this.#lines(piece, this.#offset + this.#held.length, replacements)
    else this.#scan(piece, 0, piece.length, replacements)
    const ready = last ? whole.length : this.#readyOf(whole)
    const edited = spliceChunk(ready === whole.length ? whole : whole.subarray(0, ready), this.#offset, replacements)
    this.#offset += ready
    this.#held = ready === whole.length ? NOTHING : Buffer.from(whole.subarray(ready))
    return edited
  }

  /** How many of the bytes may go: those before a value that is not whole and may be the name. */
  #readyOf(whole: Uint8Array): number {
    if (this.#jsonAt < 0) return whole.length
    const json = this.#json
    for (let field = 0; field < FIELDS.length; field++) {
      if (json.type(field) !== FieldType.STRING || json.complete(field) || json.error !== undefined) continue
      const ready = this.#jsonAt + json.start(field) - this.#offset
      if (ready >= 0 && whole.length - ready <= this.#maxHeldBytes) return ready
    }
    return whole.length
  }

  /** `offset` of the piece in the response. */
  #lines(piece: Uint8Array, offset: number, replacements: Replacement[]): void {
    let at = 0
    while (at < piece.length) {
      if (this.#lineBytes >= 0 && this.#lineBytes < DATA.length && !isLineEnd(piece[at])) {
        this.#lineBytes = piece[at] === DATA[this.#lineBytes] ? this.#lineBytes + 1 : OTHER_LINE
        at++
        continue
      }
      let end = at
      while (end < piece.length && !isLineEnd(piece[end])) end++
      if (this.#lineBytes === DATA.length) this.#data(piece, at, end, offset, replacements)
      if (end < piece.length) {
        this.#lineBytes = 0
        this.#jsonAt = -1
      }
      at = end + 1
    }
  }

  /** Bytes of a line of data, up to its end or that of the piece. */
  #data(piece: Uint8Array, start: number, end: number, offset: number, replacements: Replacement[]): void {
    if (this.#jsonAt < 0) {
      const whole = end < piece.length
      // Most lines are whole, and do not have the name.
      if (whole && this.#needle.length > 0 && !Buffer.prototype.includes.call(piece.subarray(start, end), this.#needle))
        return
      this.#beginJson(offset + start)
    }
    this.#scan(piece, start, end, replacements)
  }

  #beginJson(at: number): void {
    this.#json.reset()
    this.#jsonAt = at
  }

  /** Edits are by offset in the response. */
  #scan(piece: Uint8Array, start: number, end: number, replacements: Replacement[]): void {
    const json = this.#json
    json.feed(piece, start, end)
    const first = replacements.length
    for (let field = 0; field < FIELDS.length; field++) {
      if (json.type(field) !== FieldType.STRING || !json.complete(field)) continue
      const at = this.#jsonAt + json.start(field)
      // What has gone on is not edited again.
      if (at < this.#offset || json.tooLong(field) || json.text(field) !== this.#from) continue
      replacements.push({ start: at, end: this.#jsonAt + json.end(field), bytes: this.#to })
    }
    if (replacements.length - first > 1) replacements.sort((a, b) => a.start - b.start)
  }
}

function isLineEnd(byte: number | undefined): boolean {
  return byte === LF || byte === CR
}
