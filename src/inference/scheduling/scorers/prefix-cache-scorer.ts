import type { Scorer } from '../scorer.ts'

/** Requests that an endpoint may have above the least loaded candidate and still attract its prefixes. */
const ROOM = 6
/** Its queue may be longer than the shortest by this factor. With an empty queue anywhere, its own must be empty. */
const QUEUE_RATIO = 1.25

/**
 * The share of the prompt's blocks that the endpoint presumably has in its cache, **while the endpoint has room**, else 0.
 *
 * The peers let the share count always; a hot prefix then never leaves its replica (peers-measured.md, "Placement": 32 % of
 * requests in time against 80 % for least-request). Here affinity yields by two rules on the load gap:
 * - *queue*: an endpoint whose queue is more than `QUEUE_RATIO` × the shortest has no room. The first scrape that shows a queue
 *   where another has none ends its attraction; when all are queueing, reuse of prefixes matters most and small differences
 *   are borne.
 * - *batch*: running + waiting + unseen may exceed the least loaded by `ROOM`, or by as much again as that has. This bounds what
 *   a burst inside one scrape interval can pile up, and what a replica with a huge batch limit collects without ever queueing.
 *
 * Whoever gets the spilled request is recorded as a holder, so that a hot prefix spreads to as many replicas as its load needs.
 * For this to keep conversations together in calm times the weight must outbid all load terms together, which tell apart
 * endpoints by a single request.
 */
export function prefixCacheScorer(): Scorer {
  return {
    type: 'prefix-cache-scorer',
    score({ count, waiting, running, unseen, prefix }, _table, out) {
      let shortest = Number.POSITIVE_INFINITY
      let least = Number.POSITIVE_INFINITY
      for (let i = 0; i < count; i++) {
        const load = waiting[i]! + running[i]! + unseen[i]!
        if (waiting[i]! < shortest) shortest = waiting[i]!
        if (load < least) least = load
      }
      const maxQueue = shortest * QUEUE_RATIO
      const maxLoad = least + Math.max(ROOM, least)
      for (let i = 0; i < count; i++) {
        const load = waiting[i]! + running[i]! + unseen[i]!
        out[i] = waiting[i]! > maxQueue || load > maxLoad ? 0 : prefix[i]!
      }
    },
  }
}
