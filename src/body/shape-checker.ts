/**
 * Checks what the values of a JSON body are (./json-shape.ts) while its bytes pass by, after a `JsonScanner` has taken them: that they are
 * JSON is not checked again. What no shape looks into is skipped by counting brackets, strings by memchr; nothing is kept or allocated.
 *
 * Budget, as a ratio to `JSON.parse(body.toString())` in the same run (test/bench/json-scan.bench.ts): 300 B ≤ 0.55 (0.3 µs hot), 16 KB ≤ 0.2,
 * above ≤ 0.1; text with an escape every six bytes ≤ 0.85.
 */
import { FieldType } from './json-fields.ts'
import { KEY_BAD, KEY_OPEN, KeyReader } from './json-key.ts'
import { childByBytes } from './json-program.ts'
import { describeTypes, keyBit, type ShapeProgram } from './json-shape.ts'
import { skipString, STRING_OPEN_IN_ESCAPE } from './skip-string.ts'

export interface ShapeFault {
  /** `messages[2].role`. */
  readonly path: string
  /** The end of “must be …”. */
  readonly must: string
}

// Where the checker stands. White space and colons may come first everywhere but inside of strings.
const VALUE = 0
/** The value has begun or is over; nothing of a number or literal means anything here. */
const AFTER_VALUE = 1
const NEXT_KEY = 2
const KEY = 3
const STRING = 4
/** In a value that may be anything, outside and inside of a string. */
const UNKNOWN = 5
const UNKNOWN_STRING = 6

const QUOTE = 0x22
const COLON = 0x3a
const COMMA = 0x2c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const CLOSE_BRACE = 0x7d

/** One body at a time; `begin` makes it ready for the next. It keeps no reference to a chunk. */
export class ShapeChecker {
  readonly #program: ShapeProgram
  readonly #types: Uint8Array
  readonly #elements: Int32Array
  readonly #alike: Uint8Array
  readonly #keyBits: Int32Array
  readonly #key: KeyReader
  #state = VALUE
  #offset = 0
  /** Node of the value that is read or comes next; −1: it may be anything. */
  #node = -1
  #level = 0
  /** Brackets that are open in a value that may be anything. */
  #unknown = 0
  #inEscape = false
  // Of the container that is open at each level: its node; index of the element, −1: it is an object; type of its first element.
  readonly #open: Int32Array
  readonly #index: Int32Array
  readonly #first: Uint8Array

  constructor(program: ShapeProgram) {
    this.#program = program
    this.#types = program.types
    this.#elements = program.elements
    this.#alike = program.alike
    this.#keyBits = program.keyBits
    this.#key = new KeyReader(program)
    this.#open = new Int32Array(program.maxLevels + 1)
    this.#index = new Int32Array(program.maxLevels + 1)
    this.#first = new Uint8Array(program.maxLevels + 1)
  }

  /** `node`: of the body's shape. */
  begin(node: number): void {
    this.#state = VALUE
    this.#offset = 0
    this.#node = node
    this.#level = 0
    this.#inEscape = false
  }

  /** Takes a piece that the scanner has taken. Returns what is wrong; then the body is not to be read further. */
  feed(chunk: Uint8Array, start: number, end: number): ShapeFault | undefined {
    const base = this.#offset - start
    this.#offset += end - start
    let state = this.#state
    let p = start
    while (p < end) {
      switch (state) {
        case VALUE: {
          const byte = chunk[p++]!
          const type = BEGINNINGS[byte]!
          if (type === FieldType.ABSENT) {
            if (byte !== CLOSE_BRACKET) break
            this.#level--
            state = AFTER_VALUE
            break
          }
          if (this.#node >= 0) {
            const fault = this.#check(type)
            if (fault !== undefined) return fault
          }
          if (type === FieldType.STRING) state = STRING
          else if (type >= FieldType.OBJECT) state = this.#openContainer(type === FieldType.ARRAY)
          else state = AFTER_VALUE
          break
        }
        case STRING: {
          const after = skipString(chunk, p, end, this.#inEscape)
          this.#inEscape = after === STRING_OPEN_IN_ESCAPE
          if (after < 0) {
            p = end
            break
          }
          p = after
          state = AFTER_VALUE
          break
        }
        case AFTER_VALUE: {
          const byte = chunk[p++]!
          if (byte === COMMA) {
            const level = this.#level
            if (this.#index[level]! >= 0) {
              this.#index[level]!++
              this.#node = this.#elements[this.#open[level]!]!
              state = VALUE
            } else state = NEXT_KEY
          } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) this.#level--
          break
        }
        case NEXT_KEY: {
          const byte = chunk[p++]!
          if (byte === CLOSE_BRACE) {
            this.#level--
            state = AFTER_VALUE
          } else if (byte === QUOTE) {
            const parent = this.#open[this.#level]!
            // Nearly every key lies in one chunk and has no escape.
            let q = p
            while (q < end && PLAIN[chunk[q]!] === 1) q++
            if (q < end && chunk[q] === QUOTE) {
              const wanted = (this.#keyBits[parent]! & keyBit(q - p, chunk[p]!)) !== 0
              this.#node = wanted ? childByBytes(this.#program, parent, chunk, p, q) : -1
              p = chunk[q + 1] === COLON && q + 1 < end ? q + 2 : q + 1
              state = VALUE
            } else {
              this.#node = -1
              this.#key.start(parent, base + p - 1)
              state = KEY
            }
          }
          break
        }
        case KEY: {
          const after = this.#key.read(chunk, p, end, base)
          if (after === KEY_BAD) return this.#fault(this.#level, 'an object whose keys are JSON')
          if (after === KEY_OPEN) {
            p = end
            break
          }
          p = after
          this.#node = this.#key.node
          state = VALUE
          break
        }
        case UNKNOWN: {
          let depth = this.#unknown
          while (p < end) {
            const byte = chunk[p++]!
            if (byte === QUOTE) {
              state = UNKNOWN_STRING
              break
            }
            // Brackets and braces differ in one bit: [ ] { }.
            const bracket = byte & 0xdf
            if (bracket === OPEN_BRACKET) depth++
            else if (bracket === CLOSE_BRACKET && --depth === 0) {
              state = AFTER_VALUE
              break
            }
          }
          this.#unknown = depth
          break
        }
        default: {
          const after = skipString(chunk, p, end, this.#inEscape)
          this.#inEscape = after === STRING_OPEN_IN_ESCAPE
          p = after < 0 ? end : after
          if (after >= 0) state = UNKNOWN
        }
      }
    }
    this.#state = state
    return undefined
  }

  /** Whether the next value, which may not be anything, may be of the type. */
  #check(type: number): ShapeFault | undefined {
    const level = this.#level
    const types = this.#types[this.#node]!
    if (((types >> type) & 1) === 0) return this.#fault(level, describeTypes(types))
    if (level === 0 || this.#index[level]! < 0 || this.#alike[this.#open[level]!] === 0) return undefined
    const first = this.#first[level]!
    if (first === FieldType.ABSENT) this.#first[level] = type
    return first === FieldType.ABSENT || first === type ? undefined : this.#fault(level, 'of the type of the first')
  }

  /** A container begins that is the next value. Returns the state. */
  #openContainer(isArray: boolean): number {
    const node = this.#node
    if (node >= 0) {
      const elements = this.#elements[node]!
      if (isArray ? elements >= 0 : this.#keyBits[node] !== 0) {
        const level = ++this.#level
        this.#open[level] = node
        this.#index[level] = isArray ? 0 : -1
        this.#first[level] = FieldType.ABSENT
        this.#node = elements
        return isArray ? VALUE : NEXT_KEY
      }
    }
    this.#unknown = 1
    return UNKNOWN
  }

  /** What is wrong is the value that comes next at the level. */
  #fault(level: number, must: string): ShapeFault {
    const { nodes } = this.#program
    let path = ''
    for (let i = 1; i <= level; i++) {
      const index = this.#index[i]!
      const inner = i < level ? this.#open[i + 1]! : this.#node
      if (index >= 0) path += `[${index}]`
      else if (inner >= 0) path += (path === '' ? '' : '.') + nodes[inner]!.key
    }
    return { path, must }
  }
}

/** Bytes of a key that mean themselves. */
const PLAIN = new Uint8Array(256).fill(1, 0x20)
for (const byte of Buffer.from('"\\')) PLAIN[byte] = 0

/** Type of the value that begins with a byte. */
const BEGINNINGS = new Uint8Array(256)
for (const byte of Buffer.from('-0123456789')) BEGINNINGS[byte] = FieldType.NUMBER
for (const [byte, type] of [
  ['"', FieldType.STRING],
  ['t', FieldType.TRUE],
  ['f', FieldType.FALSE],
  ['n', FieldType.NULL],
  ['{', FieldType.OBJECT],
  ['[', FieldType.ARRAY],
] as const)
  BEGINNINGS[byte.charCodeAt(0)] = type
