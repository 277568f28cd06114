import { Buffer } from 'node:buffer'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from '@jest/globals'
import { waitFor } from '../../../test/support/wait-for.ts'
import { pack, type Packable } from '../../sim/msgpack.ts'
import type { HashList, RemovedBlocks, StoredBlocks } from './block-events.ts'
import { EventBatchParser } from './event-batch.ts'
import { hashText } from './hash-text.ts'
import { STEP_BLOCKS } from './step-meter.ts'
import { parseBatch } from './testing.ts'

/** What the parser tells, as plain values; hashes as `high:low` in hexadecimal. */
function parse(payload: Buffer): unknown[] {
  const told: unknown[] = []
  const words = ({ from, to, low, high }: HashList) =>
    Array.from({ length: to - from }, (_, i) => hex(high[from + i]!, low[from + i]!))
  parseBatch(payload, {
    stored: event =>
      told.push({
        stored: words(event.hashes),
        parent: event.hasParent ? hex(event.parentHigh, event.parentLow) : null,
        tokens: [...event.tokens.subarray(0, event.tokenCount)],
        size: event.blockSize,
        medium: event.medium,
        lora: event.loraName,
        extras: [...event.extras],
        group: event.group,
        kind: event.specKind,
      }),
    removed: event => told.push({ removed: words(event.hashes), medium: event.medium, group: event.group }),
    cleared: () => told.push('cleared'),
    sweep: () => 0,
    skipped: reason => told.push(reason),
  })
  return told
}

const hex = (high: number, low: number) => `${(high >>> 0).toString(16)}:${(low >>> 0).toString(16)}`
const batch = (...events: Packable[]) => pack([1.5, events, 0])
const raw = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
/** A map: MessagePack's encoding is that of an array with another head. */
function map(entries: readonly (readonly [string, Packable])[]): Buffer {
  return Buffer.concat([Buffer.from([0x80 | entries.length]), ...entries.flatMap(([k, v]) => [pack(k), pack(v)])])
}
const mapBatch = (...events: Buffer[]) =>
  Buffer.concat([raw('93 01'), Buffer.from([0x90 | events.length]), ...events, raw('c0')])

const PLAIN = { parent: null, medium: 'gpu', lora: '', extras: [], group: -1, kind: '' }

it('reads the three events with the fields that old engines send', () => {
  expect(parse(batch(['BlockStored', [7], null, [1, 2], 2], ['BlockRemoved', [7]], ['AllBlocksCleared']))).toEqual([
    { ...PLAIN, stored: ['0:7'], tokens: [1, 2], size: 2 },
    { removed: ['0:7'], medium: 'gpu', group: -1 },
    'cleared',
  ])
})

it('reads all fields, and leaves out those that newer engines may add', () => {
  const event = [
    'BlockStored',
    [1, 2],
    9,
    [1, 2, 3, 4],
    2,
    5,
    'CPU',
    'ada',
    [['ada', 'salt'], null],
    1,
    'mla_attention',
    77,
  ]
  expect(parse(batch([...event, 'new', [['nested']]], ['BlockRemoved', [1], 'CPU', 1, 'new']))).toEqual([
    {
      stored: ['0:1', '0:2'],
      parent: '0:9',
      tokens: [1, 2, 3, 4],
      size: 2,
      medium: 'cpu',
      lora: 'ada',
      extras: [hashText('salt'), 0],
      group: 1,
      kind: 'mla_attention',
    },
    { removed: ['0:1'], medium: 'cpu', group: 1 },
  ])
})

it('reads events as maps, in any order of their fields', () => {
  const stored = map([
    ['block_hashes', [3]],
    ['token_ids', [8]],
    ['medium', 'GPU'],
    ['block_size', 1],
    ['new', ['x']],
    ['type', 'BlockStored'],
    ['parent_block_hash', null],
  ])
  const removed = map([
    ['type', 'BlockRemoved'],
    ['group_idx', 2],
    ['block_hashes', [3]],
  ])
  expect(parse(mapBatch(stored, removed, map([['type', 'AllBlocksCleared']])))).toEqual([
    { ...PLAIN, stored: ['0:3'], tokens: [8], size: 1 },
    { removed: ['0:3'], medium: 'gpu', group: 2 },
    'cleared',
  ])
  expect(parse(Buffer.concat([raw('82'), pack('ts'), pack(1), pack('events'), pack([['AllBlocksCleared']])]))).toEqual([
    'cleared',
  ])
})

it('reads nested and tagged batches', () => {
  const cleared = ['AllBlocksCleared']
  expect(
    parse(
      pack([
        [1, [cleared], 0],
        [2, [cleared, cleared]],
      ]),
    ),
  ).toEqual(['cleared', 'cleared', 'cleared'])
  expect(parse(pack([1, [[cleared, cleared], cleared]]))).toEqual(['cleared', 'cleared', 'cleared'])
  expect(parse(pack(['KVEventBatch', 1, [cleared], null]))).toEqual(['cleared'])
})

it.each([
  ['a small integer', '07', '0:7'],
  ['uint64', 'cf ffffffff00000001', 'ffffffff:1'],
  ['int64', 'd3 fffffffffffffffe', 'ffffffff:fffffffe'],
  ['a small negative one', 'ff', 'ffffffff:ffffffff'],
  ['int32', 'd2 80000000', 'ffffffff:80000000'],
  ['uint32', 'ce fedcba98', '0:fedcba98'],
  ['sha256', `c4 20 ${'ab'.repeat(24)} 0102030405060708`, '1020304:5060708'],
  ['few bytes', 'c4 02 0102', '0:102'],
])('takes a hash that is %s', (_, bytes, hash) => {
  const event = Buffer.concat([raw('92'), pack('BlockRemoved'), raw('91'), raw(bytes)])
  expect(parse(Buffer.concat([raw('92 01 91'), event]))).toEqual([{ removed: [hash], medium: 'gpu', group: -1 }])
})

it('a bad event costs no other one of its batch', () => {
  const good = ['AllBlocksCleared']
  expect(
    parse(
      batch(
        ['Unheard', 1],
        good,
        ['BlockStored', [1], null, [1, 2, 3], 2],
        ['BlockStored', [1], null, ['x'], 1],
        ['BlockStored', [1]],
        ['BlockRemoved'],
        ['BlockRemoved', 'x'],
        [],
        'text',
        ['BlockStored', [1], null, [-1], 1],
        good,
      ),
    ),
  ).toEqual([
    'unknown tag',
    'cleared',
    'BlockStored: the number of tokens is not that of its blocks',
    'not an integer',
    'BlockStored lacks fields',
    'BlockRemoved lacks fields',
    'not an array',
    'an event without a tag',
    'an event that is neither array nor map',
    'not an integer',
    'cleared',
  ])
  const empty = Buffer.concat([raw('92'), pack('BlockRemoved'), raw('91 c4 00')])
  expect(parse(mapBatch(empty, map([['x', 1]]), map([['type', 'BlockStored']])))).toEqual([
    'an empty hash',
    'an event without a type',
    'BlockStored lacks fields',
  ])
})

it('refuses what is no batch, however it is cut', () => {
  const good = batch(['BlockStored', [1n << 63n, 2], 3n, [1, 2, 70_000, 4], 2, null, 'GPU', null, [['a'], null]])
  expect(parse(good)).toHaveLength(1)
  for (let end = 0; end < good.length; end++) expect(() => parse(good.subarray(0, end))).toThrow()
  for (const bytes of [
    'c0',
    '90',
    '91 01',
    '92 01 02',
    '92 01 c1',
    'dd ffffffff',
    '92 01 dd 7fffffff 01',
    '92 01 91 c1',
  ])
    expect(() => parse(raw(bytes))).toThrow()
  expect(() => parse(Buffer.concat([good, raw('00')]))).toThrow(/after the batch/)
  // Deep nesting is refused, or passed over, but never recursed into.
  expect(() => parse(Buffer.alloc(100_000, 0x91))).toThrow()
  expect(() => parse(Buffer.concat([raw('92 01'), Buffer.alloc(100_000, 0x91), raw('c0')]))).toThrow()
})

it('passes over every type that MessagePack has', () => {
  const fields =
    'c0 c2 c3 ca00000000 cb0000000000000000 cc00 cd0000 ce00000000 cf0000000000000000 d000 d10000 d200000000'
  const others =
    'd30000000000000000 d40000 d5000000 d60000000000 c7010000 c800010000 c90000000100 00 a161 d90161 c40161 df00000000'
  const values = raw(`${fields} ${others}`)
  const event = Buffer.concat([raw('dc 0018'), pack('Unheard'), values])
  expect(parse(Buffer.concat([raw('92 01 92'), event, pack(['AllBlocksCleared'])]))).toEqual(['unknown tag', 'cleared'])
})

it('an event has bounds, and what a long one needed is given back', () => {
  const list = (count: number, byte: number) => {
    const head = Buffer.alloc(5)
    head[0] = 0xdd
    head.writeUInt32BE(count, 1)
    return Buffer.concat([head, Buffer.alloc(count, byte)])
  }
  const event = (fields: number, tag: string, ...parts: Buffer[]) =>
    Buffer.concat([Buffer.from([0x90 | (fields + 1)]), pack(tag), ...parts])
  const events = [
    event(1, 'BlockRemoved', list(65_537, 1)),
    event(4, 'BlockStored', list(65_537, 1), raw('c0'), list(65_537, 1), raw('01')),
    event(4, 'BlockStored', raw('91 01 c0'), list(2 ** 21 + 1, 1), raw('10')),
    event(8, 'BlockStored', raw('91 01 c0 c0 c0 c0 c0 c0'), list(2, 0xc0)),
    event(8, 'BlockStored', raw('91 01 c0 c0 c0 c0 c0 c0'), list(65_537, 0xc0)),
    event(3, 'BlockRemoved', raw('91 01 c0'), pack(4096)),
  ]
  expect(parse(mapBatch(...events))).toEqual([
    '65537 is out of range',
    '65537 is out of range',
    '2097153 is out of range',
    'BlockStored: more extra keys than blocks',
    '65537 is out of range',
    '4096 is out of range',
  ])
  const removals = [65_535, 2, 1].map(count => event(1, 'BlockRemoved', list(count, 1)))
  const told = parse(mapBatch(...removals)) as (string | { readonly removed: readonly string[] })[]
  expect(told.filter(each => typeof each === 'string')).toEqual(['too many blocks in a batch'])
  expect(told.reduce((sum, each) => sum + (typeof each === 'string' ? 0 : each.removed.length), 0)).toBe(65_536)
  let seen: { stored?: StoredBlocks; removed?: RemovedBlocks } = {}
  const sizes: number[] = []
  parseBatch(
    mapBatch(
      event(1, 'BlockRemoved', list(32_768, 1)),
      event(4, 'BlockStored', list(32_768, 1), raw('c0'), list(32_768, 1), raw('01')),
    ),
    {
      stored: stored => {
        seen = { ...seen, stored }
        if (stored.hashes.from === 0) sizes.push(stored.hashes.count, stored.tokenCount)
      },
      removed: removed => {
        seen = { ...seen, removed }
        if (removed.hashes.from === 0) sizes.push(removed.hashes.count)
      },
      cleared: () => {},
      sweep: () => 0,
      skipped: reason => {
        throw new Error(reason)
      },
    },
  )
  expect(sizes).toEqual([32_768, 32_768, 32_768])
  const { stored, removed } = seen
  for (const { length } of [stored!.hashes.low, stored!.hashes.high, stored!.tokens, removed!.hashes.low])
    expect(length).toBeLessThanOrEqual(16 * 1024)
})

it('a long batch is told in steps: so many blocks in each at the most, every part after the one before', () => {
  const parser = new EventBatchParser()
  const told: { readonly step: number; readonly parent: number; readonly from: number; readonly to: number }[] = []
  let step = 0
  const hashes = Array.from({ length: 65_000 }, (_, i) => i + 1)
  const payload = batch(
    ['BlockStored', hashes, null, hashes, 1],
    ...Array.from({ length: 500 }, () => ['BlockRemoved', [1]]),
  )
  parser.begin(payload, {
    stored: event => {
      const { from, to, low } = event.hashes
      expect(event.tokens[from]).toBe(low[from])
      told.push({ step, parent: event.hasParent ? event.parentLow : 0, from, to })
    },
    removed: ({ hashes: { from, to } }) => told.push({ step, parent: 65_000, from, to }),
    cleared: () => {},
    sweep: () => 0,
    skipped: reason => {
      throw new Error(reason)
    },
  })
  const blocks: number[] = []
  for (let more = true; more; step++) {
    more = parser.step()
    // Reading counts too.
    expect(parser.spent).toBeLessThan(3 * STEP_BLOCKS)
    blocks.push(told.filter(each => each.step === step).reduce((sum, { from, to }) => sum + to - from, 0))
  }
  expect(Math.max(...blocks)).toBe(STEP_BLOCKS)
  expect(blocks.reduce((sum, each) => sum + each, 0)).toBe(65_500)
  const stored = told.filter(({ to }) => to > 1 || told.length === 1)
  expect(stored.map(({ from }) => from)).toEqual([0, ...stored.slice(0, -1).map(({ to }) => to)])
  expect(stored.every(({ from, parent }) => parent === from)).toBe(true)
})

it('a batch that is given up is told no further, and the next one is read as ever', () => {
  const parser = new EventBatchParser()
  const told: string[] = []
  const sink = {
    stored: () => told.push('stored'),
    removed: () => told.push('removed'),
    cleared: () => told.push('cleared'),
    sweep: () => 0,
    skipped: (reason: string) => told.push(reason),
  }
  parser.begin(batch(['BlockRemoved', Array.from({ length: 1000 }, (_, i) => i)], ['AllBlocksCleared']), sink)
  expect(parser.step()).toBe(true)
  parser.giveUp()
  expect(parser.step()).toBe(false)
  parseBatch(batch(['AllBlocksCleared']), sink, parser)
  expect(told).toEqual(['removed', 'cleared'])
})

it('nothing is told before what was cleared is swept, in steps that have done enough', () => {
  const parser = new EventBatchParser()
  const told: string[] = []
  // A void before this batch left some, and so does what it tells itself.
  let left = 3 * STEP_BLOCKS
  parser.begin(batch(['BlockRemoved', [1]], ['AllBlocksCleared'], ['BlockRemoved', [2]]), {
    stored: () => {},
    removed: ({ hashes }) => told.push(`removed ${hashes.low[0]} with ${left} left`),
    cleared: () => (left = 2 * STEP_BLOCKS),
    sweep: () => {
      const cost = Math.min(left, STEP_BLOCKS / 2)
      left -= cost
      return cost
    },
    skipped: reason => told.push(reason),
  })
  let steps = 1
  while (parser.step()) {
    expect(parser.spent).toBeLessThan(2 * STEP_BLOCKS)
    steps++
  }
  expect(told).toEqual(['removed 1 with 0 left', 'removed 2 with 0 left'])
  expect(steps).toBeGreaterThanOrEqual(5)
})

it('a batch that is given up before it was begun leaves nothing behind', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const parser = new EventBatchParser()
  const begin = () => {
    const payload = Buffer.alloc(8 * 1024 * 1024)
    parser.begin(payload, { stored() {}, removed() {}, cleared() {}, sweep: () => 0, skipped() {} })
    parser.giveUp()
    return new WeakRef(payload)
  }
  const payload = begin()
  // A WeakRef holds what it refers to until the turn of the event loop ends.
  await waitFor('the payload to go', () => {
    collect()
    return payload.deref() === undefined
  })
  expect(parser.step()).toBe(false)
})
