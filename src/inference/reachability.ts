/** What failed scrapes say about whether requests would reach an endpoint. A good scrape makes it ready at once. */
import { EndpointState, type EndpointTable } from './endpoint-table.ts'

/** Failures in a row after which an endpoint is unreachable. */
const UNREACHABLE_AFTER = 3

/**
 * `refused`: nobody listens; `lost`: no connection, or it broke; `bad`: the server is there, but answered something else, or
 * not in time.
 */
export type ScrapeFailureKind = 'refused' | 'lost' | 'bad'

/**
 * Notes a failure; says when it made the endpoint unreachable (`lost`) or ready again (`returned`).
 *
 * - `refused` makes any endpoint unreachable, `lost` only one that ever worked: a network may keep us from its metrics and let
 *   requests through.
 * - `bad` makes none unreachable. A busy server may be slow to answer: it merely becomes stale, or an overload would look like
 *   an outage. One that never had metrics and refused before is up now, and has none to wait for.
 */
export function noteScrapeFailure(
  table: EndpointTable,
  slot: number,
  how: ScrapeFailureKind,
): 'lost' | 'returned' | undefined {
  const unreachable = table.endpointState[slot] === EndpointState.UNREACHABLE
  const everWorked = table.scrapedAt[slot] !== 0
  if (how === 'bad') {
    table.failures[slot] = 0
    if (!unreachable || everWorked) return undefined
    table.endpointState[slot] = EndpointState.READY
    return 'returned'
  }
  const failures = Math.min(table.failures[slot]! + 1, UNREACHABLE_AFTER)
  table.failures[slot] = failures
  if (unreachable || failures < UNREACHABLE_AFTER || (how === 'lost' && !everWorked)) return undefined
  table.endpointState[slot] = EndpointState.UNREACHABLE
  return 'lost'
}
