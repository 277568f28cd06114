import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { PickRequest } from '../pick.ts'
import { PrefixHasher } from '../prefix-hasher.ts'
import type { BurstPlan } from './burst-plan.ts'
import { BurstWindow, type HeldRequest } from './burst-window.ts'

const PLAN: BurstPlan = {
  producer: 'burst',
  windowMs: 100,
  maxPerReplica: 0,
  stride: 1,
  maxBlocks: 16,
  minColocateBlocks: 0,
  maxHeld: 1000,
  balanceBy: 'requests',
  profile: 0,
}

class Held implements HeldRequest {
  readonly request: PickRequest
  readonly log: string[]
  readonly name: string

  constructor(name: string, log: string[], text = 'the same prompt') {
    const prefix = new PrefixHasher()
    prefix.reset(64, 1024)
    prefix.update(Buffer.from(text), 0, text.length)
    this.request = { model: 'm', prefix, promptBytes: text.length, subset: undefined, nowMs: 0 }
    this.log = log
    this.name = name
  }

  ask(): PickRequest {
    return this.request
  }

  release(): void {
    this.log.push(this.name)
  }
}

describe('a window', () => {
  beforeEach(() => {
    jest.useFakeTimers()
  })
  afterEach(() => {
    jest.useRealTimers()
  })

  const make = (changes: Partial<BurstPlan> = {}, endpoints = 2, fails = false) => {
    const log: string[] = []
    const asked: PickRequest[] = []
    const pool = {
      table: { capacity: 4, liveCount: endpoints, generation: Int32Array.of(5, 6, 7, 8) },
      candidatesFor: (request: PickRequest) => {
        asked.push(request)
        if (fails) throw new Error('a plug-in')
        return { count: 2, slots: Int32Array.of(2, 3), running: Float64Array.of(1, 0) }
      },
    }
    const window = new BurstWindow({ ...PLAN, ...changes }, pool)
    return { window, log, asked, held: (name: string, text?: string) => new Held(name, log, text) }
  }

  it('ends so long after its first request, and all go on with their places in the order in which they came', () => {
    const { window, log, held } = make()
    const [a, b, c] = [held('a'), held('b', 'another'), held('c')]
    expect(window.join(a, 1000)).toBe(true)
    jest.advanceTimersByTime(60)
    expect([window.join(b, 1000), window.join(c, 1000)]).toEqual([true, true])
    jest.advanceTimersByTime(39)
    expect(log).toEqual([])
    jest.advanceTimersByTime(1)
    expect(log).toEqual(['a', 'b', 'c'])
    expect([a, b, c].map(({ request }) => request.burstSlot ?? -1)).toEqual([3, -1, 3])
    expect(a.request.burstGeneration).toBe(8)
    expect(window.size).toBe(0)
    jest.advanceTimersByTime(1000)
    expect(log).toHaveLength(3)
  })

  it('whoever has less time than is left of it does not wait', () => {
    const { window, held } = make()
    expect(window.join(held('a'), 99)).toBe(false)
    expect(window.join(held('b'), 100)).toBe(true)
    jest.advanceTimersByTime(60)
    expect(window.join(held('c'), 39)).toBe(false)
    expect(window.join(held('d'), 41)).toBe(true)
  })

  it('nor do more than may, or those of a pool with one endpoint', () => {
    const { window, held } = make({ maxHeld: 2 })
    expect(['a', 'b', 'c'].map(name => window.join(held(name), 1000))).toEqual([true, true, false])
    expect(make({}, 1).window.join(held('d'), 1000)).toBe(false)
  })

  it('who leaves is forgotten, and makes room', () => {
    const { window, log, held } = make({ maxHeld: 2 })
    const [a, b, c] = [held('a'), held('b'), held('c')]
    window.join(a, 1000)
    window.join(b, 1000)
    window.leave(a)
    expect(window.join(c, 1000)).toBe(true)
    jest.advanceTimersByTime(100)
    expect(log).toEqual(['b', 'c'])
  })

  it('a window that all have left is over: the next one has its own time', () => {
    const { window, log, held } = make()
    const a = held('a')
    window.join(a, 1000)
    jest.advanceTimersByTime(90)
    window.leave(a)
    window.join(held('b'), 1000)
    jest.advanceTimersByTime(99)
    expect(log).toEqual([])
    jest.advanceTimersByTime(1)
    expect(log).toEqual(['b'])
  })

  it('many go on in several turns, and may still leave', () => {
    const { window, log, held } = make()
    const many = Array.from({ length: 150 }, (_, i) => held(String(i)))
    for (const each of many) window.join(each, 1000)
    jest.advanceTimersToNextTimer()
    expect(log).toHaveLength(64)
    window.leave(many[100]!)
    expect(window.size).toBe(85)
    jest.runAllTimers()
    expect(log).toHaveLength(149)
    expect(log).not.toContain('100')
  })

  it('many groups get their places in several turns; who leaves meanwhile gets none, though its hashes are gone', () => {
    const { window, log, asked, held } = make({ minColocateBlocks: 1 })
    const text = (i: number) => `${'a'.repeat(64)}${i}`
    const many = Array.from({ length: 150 }, (_, i) => held(String(i), text(i)))
    for (const each of many) window.join(each, 1000)
    jest.advanceTimersToNextTimer()
    expect([asked.length, log.length, window.size]).toEqual([64, 0, 150])
    const late = held('late')
    window.join(late, 1000)
    const waiting = many.filter(({ request }) => request.burstSlot === undefined)
    expect(waiting).toHaveLength(86)
    for (const each of waiting.slice(0, 6)) {
      window.leave(each)
      each.request.prefix!.reset(64, 1024)
    }
    expect(window.size).toBe(145)
    jest.advanceTimersToNextTimer()
    jest.advanceTimersToNextTimer()
    expect(asked).toHaveLength(144)
    expect(waiting.map(({ request }) => request.burstSlot !== undefined)).toEqual(waiting.map((_, i) => i >= 6))
    expect(asked.filter(request => waiting.slice(0, 6).some(each => each.request === request))).toEqual([])
    jest.runAllTimers()
    expect([log.length, log.at(-1), window.size]).toEqual([145, 'late', 0])
  })

  it('one that ends while places are found for the one before has its turn then', () => {
    const { window, log, asked, held } = make({ minColocateBlocks: 1, windowMs: 0 })
    for (let i = 0; i < 100; i++) window.join(held(String(i), `${'a'.repeat(64)}${i}`), 1000)
    jest.advanceTimersToNextTimer()
    const [late, later] = [held('late'), held('later')]
    for (const each of [late, later]) window.join(each, 1000)
    expect(asked).toHaveLength(64)
    jest.runAllTimers()
    expect(log).toEqual([...Array.from({ length: 100 }, (_, i) => String(i)), 'late', 'later'])
    expect([late, later].map(({ request }) => request.burstSlot)).toEqual([3, 3])
  })

  it('a plug-in that fails costs the places, not the requests', () => {
    const { window, log, held } = make({}, 2, true)
    const [a, b] = [held('a'), held('b')]
    window.join(a, 1000)
    window.join(b, 1000)
    jest.advanceTimersByTime(100)
    expect(log).toEqual(['a', 'b'])
    expect(a.request.burstSlot ?? -1).toBe(-1)
  })
})
