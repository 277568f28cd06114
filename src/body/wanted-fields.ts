/** What a scan found, read by the index of the wanted list. Everything but `count` and `repeated` is about the first occurrence. */
import { FieldTable, type FieldType } from './json-fields.ts'
import type { ScanProgram } from './json-program.ts'

export class WantedFields {
  protected readonly fields: FieldTable
  readonly #nodeOf: Int32Array

  protected constructor(program: ScanProgram) {
    this.fields = new FieldTable(program)
    this.#nodeOf = program.nodeOf
  }

  /** Known as soon as the first byte of the value was seen. */
  type(wanted: number): FieldType {
    return this.fields.types[this.#node(wanted)] as FieldType
  }

  /**
   * The text of a complete `text` field: a string unescaped (lone surrogates stay), a number or literal as written. Empty when
   * too long, and for objects and arrays. It may hold any character, line breaks and NUL too.
   */
  text(wanted: number): string {
    return this.fields.text(this.#node(wanted))
  }

  /** The value exceeds `maxTextBytes`; it has no text. */
  tooLong(wanted: number): boolean {
    return this.fields.tooLong(this.#node(wanted))
  }

  /** Offset in the body of the raw value's first byte (the quote of a string); -1: absent. */
  start(wanted: number): number {
    return this.fields.starts[this.#node(wanted)]!
  }

  /** Offset after the raw value's last byte; -1: not complete. */
  end(wanted: number): number {
    return this.fields.ends[this.#node(wanted)]!
  }

  complete(wanted: number): boolean {
    return this.end(wanted) !== -1
  }

  /** How often a value was begun under this key at its path. */
  count(wanted: number): number {
    return this.fields.counts[this.#node(wanted)]!
  }

  /** Whether parsers may disagree on the value: the key, or a key above it on its path, was seen more than once. */
  repeated(wanted: number): boolean {
    return this.fields.repeated(this.#node(wanted))
  }

  #node(wanted: number): number {
    const node = this.#nodeOf[wanted]
    if (node === undefined) throw new RangeError(`no wanted field ${wanted}`)
    return node
  }
}
