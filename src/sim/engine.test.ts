import { beforeEach, describe, expect, it } from '@jest/globals'
import { Engine, type EngineObserver, type EngineOptions } from './engine.ts'
import type { FinishReason, Sequence } from './sequence.ts'
import { VirtualClock } from './virtual-clock.ts'

const base: EngineOptions = {
  maxNumSeqs: 4,
  maxNumBatchedTokens: 1000,
  blockSize: 4,
  numGpuBlocks: 100,
  maxLoras: 2,
  loraLoadMs: 100,
  prefillBaseMs: 10,
  prefillMsPerToken: 1,
  decodeMs: 5,
  decodeGrowth: 0.1,
}

let clock: VirtualClock
let engine: Engine
let log: string[]
let counts: { queries: number; hits: number; preemptions: number; prompt: number; generated: number }

function start(options: Partial<EngineOptions> = {}): void {
  clock = new VirtualClock()
  log = []
  counts = { queries: 0, hits: 0, preemptions: 0, prompt: 0, generated: 0 }
  const observer: EngineObserver = {
    step(prompt, generated) {
      counts.prompt += prompt
      counts.generated += generated
    },
    prefixLookup(tokens, hits) {
      counts.queries += tokens
      counts.hits += hits
    },
    token: () => {},
    preempted: () => counts.preemptions++,
    finished: () => {},
    changed: () => {},
  }
  engine = new Engine({ ...base, ...options }, clock, observer)
}

interface Wish {
  readonly prompt: readonly number[]
  readonly maxTokens?: number
  readonly naturalLength?: number
  readonly lora?: string
  readonly cacheSalt?: string
  readonly stopAt?: number
}

function submit(id: string, wish: Wish): Sequence {
  const { prompt, maxTokens = 1, naturalLength = Number.POSITIVE_INFINITY, stopAt, ...rest } = wish
  return engine.submit({
    id,
    prompt: Uint32Array.from(prompt),
    maxTokens,
    naturalLength,
    ...rest,
    generate: index => 1_000_000 + index,
    token(index, reason) {
      log.push(`${clock.now()} ${id}#${index}${reason === undefined ? '' : ` ${reason}`}`)
      return index === stopAt
    },
    finished: (_: Sequence, reason: FinishReason) => log.push(`${clock.now()} ${id} ${reason}`),
  })
}

/** Tokens `from`, `from + 1`, … */
const tokens = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i)

beforeEach(() => start())

describe('steps', () => {
  it('takes the time of prefill, then of decode', () => {
    submit('a', { prompt: tokens(20), maxTokens: 3 })
    clock.runUntilIdle()
    // 10 + 20 × 1, then 5 a token.
    expect(log).toEqual(['30 a#0', '35 a#1', '40 a#2 length', '40 a length'])
    expect(counts).toMatchObject({ prompt: 20, generated: 3 })
  })

  it('batches what waits, and slows mildly with the batch', () => {
    submit('a', { prompt: tokens(5), maxTokens: 2 })
    submit('b', { prompt: tokens(5, 100), maxTokens: 2 })
    clock.runUntilIdle()
    expect(log).toEqual(['20 a#0', '20 b#0', '25.5 a#1 length', '25.5 a length', '25.5 b#1 length', '25.5 b length'])
  })

  it('lets a request join between two steps', () => {
    submit('a', { prompt: tokens(5), maxTokens: 3 })
    clock.advance(16)
    submit('b', { prompt: tokens(5, 100), maxTokens: 1 })
    clock.runUntilIdle()
    // b is computed in the step that begins at 20, which is a's decode and b's prefill.
    expect(log).toEqual(['15 a#0', '20 a#1', '40 a#2 length', '40 a length', '40 b#0 length', '40 b length'])
  })

  it('runs at most maxNumSeqs and queues the others in order', () => {
    start({ maxNumSeqs: 2 })
    const all = ['a', 'b', 'c', 'd'].map((id, i) => submit(id, { prompt: tokens(5, i * 100), maxTokens: 2 }))
    clock.advance(1)
    expect(engine.running).toEqual(all.slice(0, 2))
    expect(engine.waiting).toEqual(all.slice(2))
    clock.runUntilIdle()
    expect(log.filter(line => line.endsWith(' length') && !line.includes('#')).map(line => line.split(' ')[1])).toEqual(
      ['a', 'b', 'c', 'd'],
    )
    expect(all[2]?.scheduledAt).toBe(25.5)
  })

  it('computes a long prompt in chunks of the shared token budget', () => {
    start({ maxNumBatchedTokens: 8 })
    submit('a', { prompt: tokens(20), maxTokens: 1 })
    submit('b', { prompt: tokens(3, 100), maxTokens: 1 })
    clock.runUntilIdle()
    // 8, 8, then 4 of a together with 3 of b.
    expect(log).toEqual(['53 a#0 length', '53 a length', '53 b#0 length', '53 b length'])
  })

  it('ends where the text ends, where it is cut, and where a stop string is found', () => {
    submit('natural', { prompt: tokens(4), maxTokens: 9, naturalLength: 2 })
    submit('both', { prompt: tokens(4), maxTokens: 2, naturalLength: 2 })
    submit('stop', { prompt: tokens(4), maxTokens: 9, stopAt: 1 })
    submit('embed', { prompt: tokens(4), maxTokens: 0, naturalLength: 0 })
    clock.runUntilIdle()
    const ends = log.filter(line => !line.includes('#')).map(line => line.replace(/^\S+ /, ''))
    expect(ends).toEqual(['embed stop', 'natural stop', 'both stop', 'stop stop'])
  })
})

describe('prefix cache', () => {
  it('counts tokens looked up and found, and never reuses the last token', () => {
    submit('a', { prompt: tokens(12) })
    clock.runUntilIdle()
    const again = submit('b', { prompt: tokens(12) })
    const longer = submit('c', { prompt: tokens(14) })
    const other = submit('d', { prompt: [99, ...tokens(11)] })
    clock.runUntilIdle()
    expect(again.cachedTokens).toBe(8)
    expect(longer.cachedTokens).toBe(12)
    expect(other.cachedTokens).toBe(0)
    expect(counts).toMatchObject({ queries: 12 + 12 + 14 + 12, hits: 8 + 12 })
  })

  it('pays only for tokens that are not cached', () => {
    submit('a', { prompt: tokens(101) })
    clock.runUntilIdle()
    const began = clock.now()
    submit('b', { prompt: tokens(101) })
    clock.runUntilIdle()
    expect(clock.now() - began).toBe(11)
  })

  it('reuses the generated tokens too', () => {
    submit('a', { prompt: tokens(6), maxTokens: 7 })
    clock.runUntilIdle()
    const next = submit('b', { prompt: [...tokens(6), ...tokens(7, 1_000_000), 5, 6, 7] })
    clock.runUntilIdle()
    // 6 + 6 computed tokens: the last one generated was never computed.
    expect(next.cachedTokens).toBe(12)
  })

  it('keeps adapters and salts apart', () => {
    submit('a', { prompt: tokens(12) })
    clock.runUntilIdle()
    const lora = submit('b', { prompt: tokens(12), lora: 'x' })
    const salted = submit('c', { prompt: tokens(12), cacheSalt: 's' })
    clock.runUntilIdle()
    expect([lora.cachedTokens, salted.cachedTokens]).toEqual([0, 0])
  })

  it('evicts the block freed longest ago, from the end of its prefix', () => {
    start({ numGpuBlocks: 6 })
    submit('a', { prompt: tokens(12) })
    clock.runUntilIdle()
    submit('b', { prompt: tokens(12, 100) })
    clock.runUntilIdle()
    expect(engine.cache.evictions).toBe(0)
    submit('c', { prompt: tokens(4, 200) })
    clock.runUntilIdle()
    expect(engine.cache.evictions).toBe(1)
    // Of a's three blocks the last is gone, so two are found again; b's are all there.
    const a = submit('a2', { prompt: [...tokens(12), 1] })
    clock.runUntilIdle()
    expect(a.cachedTokens).toBe(8)
  })

  it('admits only what has blocks, and holds back who comes later', () => {
    start({ numGpuBlocks: 6 })
    const big = submit('big', { prompt: tokens(16), maxTokens: 4 })
    const second = submit('second', { prompt: tokens(12, 100) })
    const small = submit('small', { prompt: tokens(4, 200) })
    clock.advance(1)
    expect(engine.running).toEqual([big])
    expect(engine.waiting).toEqual([second, small])
    expect(engine.cache.usage).toBeCloseTo(4 / 6)
    clock.runUntilIdle()
    expect(engine.cache.usage).toBe(0)
    expect(log.at(-1)).toMatch(/small length$/)
  })
})

describe('preemption', () => {
  it('throws out the youngest, which comes back and ends with all its tokens', () => {
    start({ numGpuBlocks: 4 })
    submit('a', { prompt: tokens(7), maxTokens: 6 })
    const b = submit('b', { prompt: tokens(7, 100), maxTokens: 6 })
    clock.runUntilIdle()
    expect(counts.preemptions).toBe(1)
    expect(b.preemptions).toBe(1)
    expect(counts).toMatchObject({ prompt: 14, generated: 12, queries: 14 })
    expect(log.filter(line => line.includes(' b#')).map(line => line.split(' ')[1])).toEqual(
      tokens(6).map(i => `b#${i}`),
    )
    expect(log.at(-1)).toMatch(/b length$/)
    expect(engine.cache.usage).toBe(0)
  })
})

describe('cancellation', () => {
  it('frees a running request and lets the queue move on', () => {
    start({ maxNumSeqs: 1 })
    const a = submit('a', { prompt: tokens(8), maxTokens: 100 })
    submit('b', { prompt: tokens(8, 100), maxTokens: 1 })
    clock.advance(40)
    engine.cancel(a)
    engine.cancel(a)
    expect(engine.cache.usage).toBe(0)
    clock.runUntilIdle()
    expect(log.filter(line => !line.includes('#'))).toEqual(['40 a abort', '61 b length'])
  })

  it('removes a waiting request', () => {
    start({ maxNumSeqs: 1 })
    submit('a', { prompt: tokens(8) })
    const b = submit('b', { prompt: tokens(8, 100) })
    clock.advance(1)
    engine.cancel(b)
    clock.runUntilIdle()
    expect(b.scheduledAt).toBeUndefined()
    expect(log.filter(line => !line.includes('#'))).toEqual(['1 b abort', '18 a length'])
  })

  it('may come from the callback of another request', () => {
    const b: { sequence?: Sequence } = {}
    engine.submit({
      id: 'a',
      prompt: Uint32Array.of(1),
      maxTokens: 1,
      naturalLength: 9,
      generate: () => 0,
      token: () => {
        engine.cancel(b.sequence!)
        return false
      },
      finished: () => {},
    })
    b.sequence = submit('b', { prompt: tokens(4) })
    clock.runUntilIdle()
    expect(log).toEqual(['15 b abort'])
    expect(engine.running).toEqual([])
  })
})

describe('LoRA', () => {
  it('loads an adapter before its first request, while others run', () => {
    submit('lora', { prompt: tokens(4), lora: 'x' })
    submit('plain', { prompt: tokens(4) })
    clock.advance(1)
    expect(engine.waiting.map(({ request }) => request.id)).toEqual(['lora'])
    clock.runUntilIdle()
    expect(log.filter(line => !line.includes('#'))).toEqual(['14 plain length', '114 lora length'])
    const again = submit('again', { prompt: tokens(4, 50), lora: 'x' })
    clock.runUntilIdle()
    expect(again.scheduledAt).toBe(again.arrivedAt)
    expect(engine.loras.loads).toBe(1)
  })

  it('evicts the idle adapter used longest ago', () => {
    for (const lora of ['x', 'y']) {
      submit(lora, { prompt: tokens(4), lora })
      clock.runUntilIdle()
    }
    submit('x2', { prompt: tokens(4, 50), lora: 'x' })
    clock.runUntilIdle()
    submit('z', { prompt: tokens(4), lora: 'z' })
    clock.runUntilIdle()
    expect(engine.loras.resident.sort()).toEqual(['x', 'z'])
    expect(engine.loras).toMatchObject({ loads: 3, evictions: 1 })
  })

  it('lets a request wait while every slot is in use, and serves all in the end', () => {
    start({ maxLoras: 1, maxNumSeqs: 2 })
    const order = ['x', 'y', 'x', 'z', 'y']
    const sequences = order.map((lora, i) => submit(`${i}${lora}`, { prompt: tokens(4, i * 50), lora, maxTokens: 4 }))
    clock.advance(101)
    // Both requests for x run; one slot, so nothing else is loaded.
    expect(engine.running.map(({ request }) => request.id)).toEqual(['0x', '2x'])
    expect(engine.loras.resident).toEqual(['x'])
    clock.runUntilIdle()
    expect(sequences.every(({ state }) => state === 'done')).toBe(true)
    expect(engine.loras.loads).toBe(3)
  })
})

it('does the same again', () => {
  const run = () => {
    start({ maxNumSeqs: 3, numGpuBlocks: 24, maxNumBatchedTokens: 16 })
    for (let i = 0; i < 30; i++) {
      const lora = i % 4 === 0 ? {} : { lora: `l${i % 4}` }
      submit(`r${i}`, { prompt: tokens(5 + ((i * 7) % 23), i % 3), maxTokens: 1 + ((i * 5) % 11), ...lora })
      clock.advance((i * 13) % 17)
    }
    clock.runUntilIdle()
    return JSON.stringify({ log, counts })
  }
  const first = run()
  expect(log.filter(line => !line.includes('#'))).toHaveLength(30)
  expect(run()).toBe(first)
})
