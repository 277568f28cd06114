import { ATTRIBUTES_PER_ENDPOINT, type EndpointTable } from './endpoint-table.ts'
import type { EnginePage } from './engine-page.ts'

/** Writes what a page says of its attributes; NaN where `values` is absent. Those of other pages stay. Main thread only. */
export function writeAttributes(table: EndpointTable, slot: number, page: EnginePage, values?: Float64Array): void {
  for (const { index } of page.attributes)
    table.attributes[slot * ATTRIBUTES_PER_ENDPOINT + index] = values?.[index] ?? Number.NaN
}
