/** Load reports of replicas in the headers of their responses (../inference/load-report.ts), for pools that ask for them. */
import { type HeaderView, headerName } from '../extproc/header-view.ts'
import { MissingSignal } from '../inference/endpoint-table.ts'
import { readBinaryLoadReport, readLoadReport, REPORT_HEADER, REPORT_HEADER_BINARY } from '../inference/load-report.ts'
import type { Pool } from '../inference/pool.ts'
import type { Call } from './call.ts'

const TEXT = headerName(REPORT_HEADER)
const BINARY = headerName(REPORT_HEADER_BINARY)
const ALL_SIGNALS = MissingSignal.WAITING | MissingSignal.RUNNING | MissingSignal.KV_USAGE

/**
 * Notes what the replica that serves the call says of its load. A scrape that began before may overwrite it: then it is as new as any
 * scrape. Which decisions a report has seen it does not say, so that they stay counted until the next scrape.
 */
export function noteLoadReport(pool: Pool, { picked }: Call, headers: HeaderView, nowMs: number): void {
  const text = headers.get(TEXT)
  const binary = text === undefined ? headers.get(BINARY) : undefined
  if (text === undefined && binary === undefined) return
  const report = text === undefined ? readBinaryLoadReport(binary!) : readLoadReport(text)
  const { table } = pool
  const slot = picked.slots[0]!
  if (report === undefined || picked.count === 0 || table.currentGeneration[slot] !== picked.generations[0]) return
  // The first news of it: what the report does not say is not known.
  let missing = table.scrapedAt[slot] === 0 ? ALL_SIGNALS : table.missing[slot]!
  if (report.waiting !== undefined) {
    table.waiting[slot] = report.waiting
    missing &= ~MissingSignal.WAITING
  }
  if (report.running !== undefined) {
    table.running[slot] = report.running
    missing &= ~MissingSignal.RUNNING
  }
  if (report.kvUsage !== undefined) {
    table.kvUsage[slot] = report.kvUsage
    missing &= ~MissingSignal.KV_USAGE
  }
  table.missing[slot] = missing
  table.slack[slot] = 0
  table.scrapedAt[slot] = nowMs
}
