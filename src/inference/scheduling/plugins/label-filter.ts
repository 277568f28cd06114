import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import type { Filter } from '../filter.ts'

/** Keeps endpoints by their labels alone: they are looked at when the endpoints change, not for each pick. */
export class LabelFilter implements Filter {
  readonly type: string
  readonly #selects: (labels: Readonly<Record<string, string>>) => boolean
  #selected = new Uint8Array(0)

  constructor(type: string, selects: (labels: Readonly<Record<string, string>>) => boolean) {
    this.type = type
    this.#selects = selects
  }

  adopt(table: EndpointTable): void {
    this.#selected = Uint8Array.from({ length: table.capacity }, (_, slot) => {
      const labels = table.labels(slot)
      return labels !== undefined && this.#selects(labels) ? 1 : 0
    })
  }

  filter({ count, slots }: Candidates, _table: EndpointTable, kept: Uint8Array): void {
    for (let i = 0; i < count; i++) kept[i] = this.#selected[slots[i]!]!
  }
}
