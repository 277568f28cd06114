import { Buffer } from 'node:buffer'
import { afterEach, expect, it } from '@jest/globals'
import { Publisher, Router } from 'zeromq'
import { waitFor } from '../../../test/support/wait-for.ts'
import { pack } from '../../sim/msgpack.ts'
import { EndpointFeed, type EndpointFeedOptions } from './endpoint-feed.ts'
import { FeedCounts } from './feed-counts.ts'
import { PendingTotal } from './pending-batches.ts'
import { ReplayLimiter } from './replay-limiter.ts'
import { TEST_TIMES } from './testing.ts'
import { Turns } from './turns.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

const portOf = (endpoint: string | null) => Number(endpoint!.split(':').at(-1))
const number = (sequence: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(sequence))
  return bytes
}
/** Removes so many blocks, all of that hash. */
const batch = (hash: number, blocks = 1) => pack([1, [['BlockRemoved', Array.from({ length: blocks }, () => hash)]], 0])
const MOST = 512

/** Blocks in turns of the event loop. */
function countPerTurn() {
  const blocks = { most: 0, sum: 0, inThisTurn: 0 }
  let immediate: NodeJS.Immediate
  const next = () => {
    blocks.inThisTurn = 0
    immediate = setImmediate(next)
  }
  next()
  closers.push(() => clearImmediate(immediate))
  const add = (count: number) => {
    blocks.sum += count
    blocks.most = Math.max(blocks.most, (blocks.inThisTurn += count))
  }
  return { blocks, add }
}

/** An engine on libzmq: batch n removes block n. `kept`: what a replay has; undefined: there is no replay socket. */
async function engine(
  kept?: (from: number) => readonly number[],
  changes: Partial<EndpointFeedOptions> = {},
  blocksOf: (sequence: number) => number = () => 1,
) {
  const publisher = new Publisher({ linger: 0 })
  await publisher.bind('tcp://127.0.0.1:*')
  closers.push(() => publisher.close())
  let replayPort = 0
  if (kept !== undefined) {
    const router = new Router({ linger: 0 })
    await router.bind('tcp://127.0.0.1:*')
    closers.push(() => router.close())
    replayPort = portOf(router.lastEndpoint)
    void (async () => {
      for await (const [identity, empty, from] of router) {
        for (const sequence of kept(Number(from!.readBigUInt64BE())))
          await router.send([identity!, empty!, number(sequence), batch(sequence, blocksOf(sequence))])
        await router.send([identity!, empty!, Buffer.alloc(8, 0xff), ''])
      }
    })()
  }
  /** A batch of many blocks: once more, negative, when its last one was told. */
  const told: (number | 'clear' | 'doubt' | 'forget')[] = []
  const counts = new FeedCounts()
  const perTurn = countPerTurn()
  const feed = new EndpointFeed({
    host: '127.0.0.1',
    port: portOf(publisher.lastEndpoint),
    replayPort,
    topicFilter: 'kv@',
    target: {
      stored: () => {},
      removed: ({ hashes }) => {
        perTurn.add(hashes.to - hashes.from)
        if (hashes.from === 0) told.push(hashes.low[0]!)
        if (hashes.count > 1 && hashes.to === hashes.count) told.push(-hashes.low[0]!)
      },
      clear: () => told.push('clear'),
      sweep: () => 0,
      doubt: () => told.push('doubt'),
      forgetDoubtful: () => told.push('forget'),
    },
    counts,
    limiter: new ReplayLimiter(1),
    turns: new Turns(MOST),
    pendingTotal: new PendingTotal(1e9),
    times: TEST_TIMES,
    onChange: () => {},
    ...changes,
  })
  closers.push(() => feed.stop())
  await waitFor('a connection', () => feed.connected)
  const send = (sequence: number) =>
    publisher.send(['kv@pod@model', number(sequence), batch(sequence, blocksOf(sequence))])
  // A subscription takes its time: what comes before is lost.
  await waitFor('a subscription', async () => {
    await publisher.send(['kv@pod@model', 'no number', 'x'])
    return counts.malformed > 0
  })
  return { send, told, counts, perTurn, feed }
}

it('without replays a gap costs what is in it, and a lower number is a new life', async () => {
  const { send, told, counts } = await engine()
  for (const sequence of [5, 6, 6, 9, 2]) await send(sequence)
  await waitFor('all', () => told.includes(2) && told.includes('forget'))
  expect(told.filter(each => each !== 'forget')).toEqual([5, 6, 'doubt', 9, 'clear', 2])
  expect(counts).toMatchObject({ batches: 4, gaps: 1, resets: 1, replays: 0 })
})

it('replays what was told before, and what is missing; nothing twice', async () => {
  let newest = 3
  const { send, told, counts } = await engine(from => Array.from({ length: newest + 1 - from }, (_, i) => from + i))
  await waitFor('the start', () => told.at(-1) === 3)
  newest = 7
  for (const sequence of [4, 7, 8]) {
    if (sequence === 8) newest = 8
    await send(sequence)
  }
  await waitFor('all', () => told.at(-1) === 8)
  expect(told).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  expect(counts).toMatchObject({ gaps: 1, replays: 2, failedReplays: 0, dropped: 0 })
})

it('what a replay does not have any more voids all before it', async () => {
  const { told } = await engine(() => [40, 41])
  await waitFor('the replay', () => told.at(-1) === 41)
  expect(told).toEqual(['clear', 40, 41])
})

it('after a replay that is not whole nothing counts until a whole one', async () => {
  let broken = true
  const { send, told, counts } = await engine(from => (broken ? [from, from + 2] : [0, 1, 2, 3]))
  await waitFor('a failure', () => counts.failedReplays > 0)
  expect(told.slice(0, 2)).toEqual([0, 'clear'])
  await send(3)
  broken = false
  await waitFor('the rest', () => told.at(-1) === 3)
  expect(told.slice(-4)).toEqual([0, 1, 2, 3])
})

it.each([
  ['of the endpoint', { maxPendingBytes: 5000 }],
  ['of all endpoints', { pendingTotal: new PendingTotal(5000) }],
])('what waits for a replay is bounded by the bytes %s: beyond them a new replay has to tell', async (_, bound) => {
  const limiter = new ReplayLimiter(1)
  const leave = limiter.enter('other', () => {})
  // The replay waits for room, and batches for the replay.
  const { send, told, counts } = await engine(() => [0, 1, 2, 3], { ...bound, limiter })
  for (let sequence = 0; sequence < 30; sequence++) await send(sequence)
  await waitFor('a failure', () => counts.failedReplays > 0)
  expect(counts.dropped).toBeGreaterThan(10)
  leave()
  await waitFor('the replay', () => told.slice(-5).join(' ') === 'clear 0 1 2 3')
})

/** A turn of ours may begin in the middle of one of the counter's. */
const MOST_COUNTED = 2 * (MOST + 128)

it('a batch of 65,536 blocks takes many turns, and what follows comes after it', async () => {
  const { send, told, perTurn } = await engine(undefined, {}, sequence => (sequence < 2 ? 65_536 : 1))
  for (let sequence = 0; sequence < 20; sequence++) await send(sequence)
  await waitFor('all', () => told.at(-1) === 19)
  expect(told.slice(0, 4)).toEqual([0, -0, 1, -1])
  expect(told.slice(4)).toEqual(Array.from({ length: 18 }, (_, i) => i + 2))
  expect(perTurn.blocks.sum).toBe(2 * 65_536 + 18)
  expect(perTurn.blocks.most).toBeLessThanOrEqual(MOST_COUNTED)
})

it('a replay of large batches takes many turns, and so do those that waited for it', async () => {
  const limiter = new ReplayLimiter(1)
  const pendingTotal = new PendingTotal(1e9)
  const leave = limiter.enter('other', () => {})
  const { send, told, counts, perTurn } = await engine(
    () => [0, 1, 2, 3],
    { limiter, pendingTotal },
    () => 4096,
  )
  for (let sequence = 2; sequence < 34; sequence++) await send(sequence)
  await waitFor('what waits', () => pendingTotal.bytes > 32 * 4096)
  leave()
  await waitFor('all', () => told.at(-1) === -33)
  expect(told).toEqual(Array.from({ length: 34 }, (_, i) => [i, -i]).flat())
  expect(counts).toMatchObject({ gaps: 0, dropped: 0, failedReplays: 0, batches: 34 })
  expect(perTurn.blocks.most).toBeLessThanOrEqual(MOST_COUNTED)
})

it('a new life in the middle of a long batch ends that one, and so does the stop of the feed', async () => {
  const limiter = new ReplayLimiter(1)
  const pendingTotal = new PendingTotal(1e9)
  const leave = limiter.enter('other', () => {})
  const { send, told, counts, feed } = await engine(
    () => [0, 1, 2, 3],
    { limiter, pendingTotal },
    () => 65_536,
  )
  await send(9)
  await waitFor('what waits', () => pendingTotal.bytes > 0)
  leave()
  await waitFor('the replay', () => told.length > 0)
  await send(4)
  await waitFor('all of the new life', () => told.at(-1) === -4)
  // On a busy machine the batch may have begun after the replay's own clearing.
  expect(told.slice(told.lastIndexOf('clear') + 1)).toEqual([0, 1, 2, 3, 4].flatMap(each => [each, -each]))
  expect(counts.resets).toBe(1)
  await send(5)
  await waitFor('the next', () => told.includes(5))
  feed.stop()
  const { length } = told
  for (let turns = 0; turns < 300; turns++) await new Promise(resolve => setImmediate(resolve))
  expect(told.length).toBe(length)
})
