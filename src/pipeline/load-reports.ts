/** Load reports of replicas in the headers or trailers of their responses (../inference/load-report.ts), for pools that ask for them. */
import { type HeaderView, headerName } from '../extproc/header-view.ts'
import { loadReportOf, noteLoad, REPORT_HEADER, REPORT_HEADER_BINARY } from '../inference/load-report.ts'
import type { Pool } from '../inference/pool.ts'
import type { Call } from './call.ts'

const TEXT = headerName(REPORT_HEADER)
const BINARY = headerName(REPORT_HEADER_BINARY)

/** Notes what the replica that serves the call says of its load. */
export function noteLoadReport(pool: Pool, { picked }: Call, headers: HeaderView, nowMs: number): void {
  const report = loadReportOf(headers.get(TEXT), headers.get(BINARY))
  const { table } = pool
  const slot = picked.slots[0]!
  if (report === undefined || picked.count === 0 || table.currentGeneration[slot] !== picked.generations[0]) return
  noteLoad(table, slot, report, nowMs)
}
