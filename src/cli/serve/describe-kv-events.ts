import type { FeedCounts } from '../../inference/kv-events/feed-counts.ts'
import type { KvLedger, KvLedgerCounts } from '../../inference/kv-events/kv-ledger.ts'
import type { PoolFeed } from '../../inference/kv-events/pool-feed.ts'
import type { Metrics, Sample } from '../../telemetry/metrics.ts'
import type { KvFeeds } from './kv-feeds.ts'

/** Families that tell how KV cache events are followed; without a pool that asks for it they are empty. */
export function describeKvEvents(metrics: Metrics, feeds: KvFeeds): void {
  const perPool = (value: (feed: PoolFeed, ledger: KvLedger) => number) => (): Sample[] =>
    feeds.all().flatMap(([pool, feed]) => {
      const ledger = pool.kvLedger
      return ledger === undefined ? [] : [{ labels: [pool.plan.name], value: value(feed, ledger) }]
    })
  const counter = (name: string, help: string, value: (feed: PoolFeed, ledger: KvLedger) => number) =>
    metrics.counter(`signalbox_kv_events_${name}_total`, help, ['pool'], perPool(value))
  const gauge = (name: string, help: string, value: (feed: PoolFeed, ledger: KvLedger) => number) =>
    metrics.gauge(`signalbox_kv_events_${name}`, help, ['pool'], perPool(value))
  const received = (name: string, help: string, field: keyof FeedCounts) =>
    counter(name, help, ({ counts }) => counts[field])
  const blocks = (name: string, help: string, field: keyof KvLedgerCounts) =>
    counter(name, help, (_, { counts }) => counts[field])

  received('batches', 'Batches of KV cache events taken', 'batches')
  received('malformed', 'Messages that could not be read, wholly or in part', 'malformed')
  received('skipped', 'Events of unknown kinds, or that made no sense', 'skippedEvents')
  received('gaps', 'Breaks in the sequence of batches', 'gaps')
  received('resets', 'Engines that began a new sequence', 'resets')
  received('replays', 'Replays asked for', 'replays')
  received('replay_failures', 'Replays that were not complete', 'failedReplays')
  received('dropped', 'Batches left out because something before them is missing', 'dropped')
  received('reconnects', 'Connections lost', 'reconnects')
  blocks('blocks_stored', 'Blocks that engines have told of', 'stored')
  blocks('blocks_removed', 'Blocks that engines have given up', 'removed')
  blocks('blocks_orphaned', 'Blocks left out because their parent is not known', 'orphaned')
  blocks('blocks_ignored', 'Blocks of attention groups or sizes that are not indexed', 'ignored')
  blocks('cleared', 'Times that all blocks of an engine were forgotten', 'cleared')
  counter('blocks_evicted', 'Blocks forgotten to stay within memory', (_, { size }) => size.evicted)
  gauge('blocks', 'Blocks known, of all engines', (_, { size }) => size.blocks)
  gauge('index_keys', 'Different blocks in the index', (_, { size }) => size.keys)
  gauge('index_bytes', 'Size of the index', (_, { size }) => size.bytes)
  gauge('endpoints', 'Endpoints whose events are to be followed', feed => feed.endpoints)
  gauge('endpoints_connected', 'Endpoints whose events arrive', feed => feed.connected)
}
