/** The tables of HPACK (RFC 7541 §2.3): the static one, and a connection's dynamic one. */
import { type FieldKind, kindOfField, kindOfName } from './field-kind.ts'
import { STATIC_FIELDS } from './static-table.ts'

/** The last index of the static table; the dynamic one's first is the next. */
export const STATIC_ENTRIES = STATIC_FIELDS.length

/** Counted for every entry beside its octets (RFC 7541 §4.1), and for every field of a list (RFC 9113 §10.5.1). */
export const FIELD_OVERHEAD = 32

export interface TableEntry {
  readonly name: string
  readonly value: string
  readonly nameKind: FieldKind
  /** The judgement of name and value together. */
  readonly kind: FieldKind
  /** Octets of name and value, and the overhead. */
  readonly size: number
}

export class FieldTable {
  /** Rises with everything that changes what an index means. */
  version = 0
  /** What the entries may sum up to now, bytes. */
  capacity: number
  private bytes = 0
  /** A ring whose length is a power of two; the newest entry is at `newest`. */
  private ring: (TableEntry | undefined)[] = Array.from<TableEntry | undefined>({ length: 16 })
  private newest = 0
  private count = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** Undefined: there is no such index. */
  at(index: number): TableEntry | undefined {
    if (index <= STATIC_ENTRIES) return STATIC[index]
    const age = index - STATIC_ENTRIES - 1
    return age < this.count ? this.ring[(this.newest - age) & (this.ring.length - 1)] : undefined
  }

  /** Evicts what the new entry needs. One that is larger than the table empties it, and is not kept (§4.4). */
  insert(name: string, nameKind: FieldKind, value: string, kind: FieldKind, size: number): void {
    this.version++
    this.evict(this.capacity - size)
    if (size > this.capacity) return
    if (this.count === this.ring.length) this.grow()
    this.newest = (this.newest + 1) & (this.ring.length - 1)
    this.ring[this.newest] = { name, value, nameKind, kind, size }
    this.count++
    this.bytes += size
  }

  resize(capacity: number): void {
    this.version++
    this.capacity = capacity
    this.evict(capacity)
  }

  private evict(target: number): void {
    while (this.count > 0 && this.bytes > target) {
      const oldest = (this.newest - this.count + 1) & (this.ring.length - 1)
      this.bytes -= this.ring[oldest]!.size
      this.ring[oldest] = undefined
      this.count--
    }
  }

  private grow(): void {
    const entries = Array.from({ length: this.count }, (_, age) => this.at(STATIC_ENTRIES + this.count - age))
    this.ring = [...entries, ...entries.map(() => undefined)]
    this.newest = this.count - 1
  }
}

/** By index; 0 means nothing. */
const STATIC: readonly (TableEntry | undefined)[] = [
  undefined,
  ...STATIC_FIELDS.map(({ name, value }): TableEntry => {
    const nameKind = kindOfName(name)
    const size = name.length + value.length + FIELD_OVERHEAD
    return { name, value, nameKind, kind: kindOfField(nameKind, value), size }
  }),
]
