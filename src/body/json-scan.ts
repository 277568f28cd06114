/**
 * Incremental JSON scanner: finds wanted fields in a body that comes in chunks, without keeping the body.
 *
 * Budget, as a ratio to `JSON.parse(body.toString())` in the same run (test/bench/json-scan.bench.ts, 16 KB chunks, whole body):
 * 300 B ≤ 1.1 (0.8 µs), 16 KB ≤ 0.2, 220 KB – 10 MB ≤ 0.1; text with an escape every six bytes ≤ 0.85; one long string of 1 MB or
 * more ≤ 1.5 × memchr. Nothing is allocated per chunk, except a view for a long string in a window far from its chunk's end.
 *
 * What is checked: structure, nesting, numbers, literals, white space, keys of objects on a wanted path, `text` values (UTF-8 too).
 * What is not: the inside of any other string (control characters, escapes, UTF-8), because memchr skips it. So every body in UTF-8
 * that `JSON.parse` takes is taken, caps aside, while a body taken here may still be refused by a strict parser.
 * A UTF-8 byte order mark at the start is skipped (Python takes it; offsets count it). Keys are compared after unescaping,
 * case-sensitively.
 */
import { FieldType } from './json-fields.ts'
import { KEY_BAD, KEY_OPEN, KEY_TOO_LONG, KeyReader } from './json-key.ts'
import { NumberReader } from './json-number.ts'
import type { ScanProgram } from './json-program.ts'
import { type ScanSink, ValueStreams } from './json-streams.ts'
import { ScanState } from './scan-state.ts'
import { STRING_OPEN_IN_ESCAPE, skipString } from './skip-string.ts'
import { WantedFields } from './wanted-fields.ts'

/**
 * - `unexpected_byte`, `unexpected_end`, `trailing_data`: no JSON.
 * - `bad_string`: a control character or a wrong escape in a key or a `text` value, or invalid UTF-8 in the latter.
 * - `too_deep`, `key_too_long`: a limit of the program.
 */
export type ScanErrorCode =
  | 'unexpected_byte'
  | 'unexpected_end'
  | 'trailing_data'
  | 'bad_string'
  | 'too_deep'
  | 'key_too_long'

export interface ScanError {
  readonly code: ScanErrorCode
  /** Byte of the body; that of the opening quote where a string is wrong as a whole. */
  readonly offset: number
}

export { ScanState }

// Where the scanner stands. From `VALUE` on white space may come first.
const STRING = 0
/** Key of an object that holds wanted keys. */
const LIVE_KEY = 1
const DEAD_KEY = 2
const NUMBER = 3
const LITERAL = 4
const FAILED = 5
const VALUE = 6
const FIRST_ELEMENT = 7
const FIRST_KEY = 8
const NEXT_KEY = 9
const COLON = 10
const AFTER_VALUE = 11
const DONE = 12

// What encloses the value; nothing is 0.
const ARRAY = 1
const DEAD_OBJECT = 2
const LIVE_OBJECT = 3

const QUOTE = 0x22
const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')
const NULL = Buffer.from('null')
const BYTE_ORDER_MARK = Buffer.from('\uFEFF')

/** One scanner scans one body at a time; `reset` makes it ready for the next. It keeps no reference to a chunk. */
export class JsonScanner extends WantedFields {
  readonly #program: ScanProgram
  readonly #streams: ValueStreams
  readonly #key: KeyReader
  readonly #number = new NumberReader()

  #state = VALUE
  #offset = 0
  #error: ScanError | undefined
  /** Node of the value that is read or comes next; -1: not wanted. */
  #node = 0
  #depth = 0
  readonly #enclosing: Uint8Array
  /** Node of the object or array that is open at each depth. */
  readonly #openNodes: Int32Array

  /** The last chunk ended after the backslash of an escape. */
  #inEscape = false
  #emptyRoot = false
  #literal: Uint8Array = NULL
  #literalRead = 0

  constructor(program: ScanProgram) {
    super(program)
    this.#program = program
    this.#enclosing = new Uint8Array(program.maxDepth + 1)
    this.#openNodes = new Int32Array(program.maxDepth + 1)
    this.#key = new KeyReader(program)
    this.#streams = new ValueStreams(program)
  }

  reset(): void {
    this.fields.reset()
    this.#state = VALUE
    this.#offset = 0
    this.#error = undefined
    this.#node = 0
    this.#depth = 0
    this.#inEscape = false
    this.#emptyRoot = false
    this.#streams.reset()
  }

  /** Bytes fed in all. */
  get offset(): number {
    return this.#offset
  }

  /** The body is an object without keys. */
  get emptyRoot(): boolean {
    return this.#emptyRoot
  }

  /** Takes the bytes of `stream` fields. Of a body that becomes INVALID the last ones are not sent. */
  set sink(sink: ScanSink | undefined) {
    this.#streams.sink = sink
  }

  get error(): ScanError | undefined {
    return this.#error
  }

  /** Scans `start … end` of the chunk. After DONE only white space may follow; INVALID is final. */
  feed(chunk: Uint8Array, start = 0, end = chunk.length): ScanState {
    const base = this.#offset - start
    this.#offset += end - start
    if (this.#state === FAILED) return ScanState.INVALID
    this.#streams.resume(start)

    let state = this.#state
    let node = this.#node
    let depth = this.#depth
    let p = start
    while (p < end) {
      switch (state) {
        case STRING: {
          const after = skipString(chunk, p, end, this.#inEscape)
          if (node >= 0 && this.fields.capturing) this.fields.append(node, chunk, p, after < 0 ? end : after - 1)
          if (after < 0) {
            this.#inEscape = after === STRING_OPEN_IN_ESCAPE
            p = end
            break
          }
          this.#inEscape = false
          p = after
          if (node >= 0 && !this.#endValue(node, chunk, p, base))
            return this.#fail('bad_string', this.fields.starts[node]!)
          state = depth === 0 ? DONE : AFTER_VALUE
          break
        }
        case LIVE_KEY: {
          const after = this.#key.read(chunk, p, end, base)
          if (after === KEY_BAD) return this.#fail('bad_string', this.#key.offset)
          if (after === KEY_TOO_LONG) return this.#fail('key_too_long', this.#key.offset)
          if (after === KEY_OPEN) {
            p = end
            break
          }
          p = after
          node = this.#key.node
          state = COLON
          break
        }
        case DEAD_KEY: {
          const after = skipString(chunk, p, end, this.#inEscape)
          const keyEnd = base + (after < 0 ? end : after - 1)
          if (keyEnd - this.#key.offset - 1 > this.#program.maxKeyBytes)
            return this.#fail('key_too_long', this.#key.offset)
          this.#inEscape = after === STRING_OPEN_IN_ESCAPE
          p = after < 0 ? end : after
          if (after >= 0) state = COLON
          break
        }
        case NUMBER: {
          const after = this.#number.read(chunk, p, end)
          if (node >= 0 && this.fields.capturing) this.fields.append(node, chunk, p, after)
          p = after
          if (p === end) break
          if (!this.#number.complete) return this.#fail('unexpected_byte', base + p)
          if (node >= 0) this.#endValue(node, chunk, p, base)
          state = depth === 0 ? DONE : AFTER_VALUE
          break
        }
        case LITERAL: {
          const literal = this.#literal
          let read = this.#literalRead
          while (p < end && read < literal.length && chunk[p] === literal[read]) {
            p++
            read++
          }
          this.#literalRead = read
          if (read < literal.length) {
            if (p < end) return this.#fail('unexpected_byte', base + p)
            break
          }
          if (literal === BYTE_ORDER_MARK) {
            state = VALUE
            break
          }
          if (node >= 0) this.#endValue(node, chunk, p, base)
          state = depth === 0 ? DONE : AFTER_VALUE
          break
        }
        default: {
          const byte = chunk[p]!
          if (byte <= 0x20 && (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09)) {
            p++
            break
          }
          // Structure: one byte, one step.
          const enclosing = this.#enclosing[depth]!
          switch (state) {
            case VALUE:
            case FIRST_ELEMENT:
              if (byte === QUOTE) {
                if (node >= 0) this.#beginValue(node, FieldType.STRING, p, base)
                p++
                state = STRING
              } else if (byte === 0x7b || byte === 0x5b) {
                if (node >= 0) this.#beginValue(node, byte === 0x7b ? FieldType.OBJECT : FieldType.ARRAY, p, base)
                if (depth === this.#program.maxDepth) return this.#fail('too_deep', base + p)
                p++
                this.#openNodes[++depth] = node
                if (byte === 0x5b) {
                  this.#enclosing[depth] = ARRAY
                  node = -1
                  state = FIRST_ELEMENT
                } else {
                  const live = node >= 0 && this.#program.nodes[node]!.children.length > 0
                  this.#enclosing[depth] = live ? LIVE_OBJECT : DEAD_OBJECT
                  state = FIRST_KEY
                }
              } else if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) {
                if (node >= 0) this.#beginValue(node, FieldType.NUMBER, p, base)
                this.#number.start()
                state = NUMBER
              } else if (byte === 0x74 || byte === 0x66 || byte === 0x6e) {
                this.#beginLiteral(node, byte, p, base)
                state = LITERAL
              } else if (byte === 0x5d && state === FIRST_ELEMENT) {
                p++
                node = this.#openNodes[depth--]!
                if (node >= 0) this.#endValue(node, chunk, p, base)
                state = depth === 0 ? DONE : AFTER_VALUE
              } else if (byte === 0xef && base + p === 0) {
                this.#literal = BYTE_ORDER_MARK
                this.#literalRead = 0
                state = LITERAL
              } else return this.#fail('unexpected_byte', base + p)
              break
            case FIRST_KEY:
            case NEXT_KEY:
              if (byte === QUOTE) {
                this.#key.start(this.#openNodes[depth]!, base + p)
                p++
                node = -1
                state = enclosing === LIVE_OBJECT ? LIVE_KEY : DEAD_KEY
              } else if (byte === 0x7d && state === FIRST_KEY) {
                if (depth === 1) this.#emptyRoot = true
                p++
                node = this.#openNodes[depth--]!
                if (node >= 0) this.#endValue(node, chunk, p, base)
                state = depth === 0 ? DONE : AFTER_VALUE
              } else return this.#fail('unexpected_byte', base + p)
              break
            case COLON:
              if (byte !== 0x3a) return this.#fail('unexpected_byte', base + p)
              p++
              state = VALUE
              break
            case AFTER_VALUE:
              if (byte === 0x2c) {
                p++
                node = -1
                state = enclosing === ARRAY ? VALUE : NEXT_KEY
              } else if (byte === (enclosing === ARRAY ? 0x5d : 0x7d)) {
                p++
                node = this.#openNodes[depth--]!
                if (node >= 0) this.#endValue(node, chunk, p, base)
                state = depth === 0 ? DONE : AFTER_VALUE
              } else return this.#fail('unexpected_byte', base + p)
              break
            default:
              return this.#fail('trailing_data', base + p)
          }
        }
      }
    }
    this.#state = state
    this.#node = node
    this.#depth = depth
    this.#streams.flush(chunk, end)
    return state === DONE ? ScanState.DONE : ScanState.MORE
  }
  /** The body is over: DONE when exactly one value was read, else INVALID. */
  finish(): ScanState {
    if (this.#state === NUMBER && this.#depth === 0 && this.#number.complete) {
      // Only the end of the body tells that a number at the root is complete.
      if (this.#node >= 0) this.fields.end(this.#node, this.#offset)
      this.#state = DONE
    }
    if (this.#state === DONE) return ScanState.DONE
    return this.#state === FAILED ? ScanState.INVALID : this.#fail('unexpected_end', this.#offset)
  }

  #beginValue(node: number, type: FieldType, p: number, base: number): void {
    if (this.fields.begin(node, type, base + p)) this.#streams.begin(node, p)
  }

  /** The value ends before position `p`. False: it is a `text` value and no JSON string. */
  #endValue(node: number, chunk: Uint8Array, p: number, base: number): boolean {
    this.#streams.end(node, chunk, p)
    return this.fields.end(node, base + p)
  }

  #beginLiteral(node: number, byte: number, p: number, base: number): void {
    const type = byte === 0x74 ? FieldType.TRUE : byte === 0x66 ? FieldType.FALSE : FieldType.NULL
    this.#literal = byte === 0x74 ? TRUE : byte === 0x66 ? FALSE : NULL
    this.#literalRead = 0
    if (node >= 0) this.#beginValue(node, type, p, base)
  }

  #fail(code: ScanErrorCode, offset: number): ScanState {
    this.#state = FAILED
    this.#error = { code, offset }
    return ScanState.INVALID
  }
}
