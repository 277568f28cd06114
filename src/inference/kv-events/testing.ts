/** Plans, prompts and a reader for this folder's tests. */
import type { Buffer } from 'node:buffer'
import { EventBatchParser, type KvEventSink } from './event-batch.ts'
import type { FeedTimes } from './feed-times.ts'
import { hashText } from './hash-text.ts'
import type { KvEventsPlan } from './kv-events-plan.ts'
import { KvIndex } from './kv-index.ts'
import type { KvLedger } from './kv-ledger.ts'
import { TokenIds } from './token-ids.ts'

export function kvPlan(changes: Partial<KvEventsPlan> = {}): KvEventsPlan {
  return {
    producer: 'precise-prefix-cache-producer',
    blockTokens: 4,
    hashSeed: '',
    tiers: [
      { name: 'gpu', weight: 1 },
      { name: 'cpu', weight: 0.8 },
    ],
    maxBytes: 8 * 1024 * 1024,
    maxKeys: 1e8,
    topicFilter: 'kv@',
    socketPort: 5557,
    replayPort: 0,
    speculativeTtlMs: 0,
    ...changes,
  }
}

/** Short enough for tests, long enough for a machine under load. */
export const TEST_TIMES: FeedTimes = {
  retryMs: 50,
  handshakeMs: 20_000,
  heartbeatMs: 20_000,
  replayMs: 60_000,
  replayIdleMs: 20_000,
  replayPauseMs: 100,
  doubtMs: 100,
}

export function tokens(prompts: readonly (readonly number[])[], salt = ''): TokenIds {
  const ids = new TokenIds()
  for (const prompt of prompts) {
    for (const id of prompt) ids.push(id)
    ids.endPrompt()
  }
  if (salt !== '') ids.salt = hashText(salt)
  return ids
}

/** 1, 2, 3 … */
export function count(to: number, from = 1): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

/** Weighted tokens that each of the first `slots` endpoints holds of a prompt. */
export function matched(ledger: KvLedger, ids: TokenIds, slots = 3, adapter = ''): number[] {
  const { plan } = ledger
  const index = new KvIndex(
    ledger.state,
    plan.tiers.map(({ weight }) => weight),
  )
  const out = new Float64Array(ledger.state.slots)
  index.match(ids, plan.hashSeed, adapter, out, undefined, 0)
  return [...out.subarray(0, slots)]
}

/** The whole batch at once. @throws MsgpackError */
export function parseBatch(payload: Buffer, sink: KvEventSink, parser = new EventBatchParser()): void {
  parser.begin(payload, sink)
  while (parser.step());
}
