/**
 * The index's protocol (./kv-index.ts), step by step: threads that race for real hardly ever meet in the few nanoseconds that matter
 * (./kv-hammer.test.ts), so here the writer acts between any two reads of a reader, and stops after any of its own steps.
 */
import { afterEach, expect, it, jest } from '@jest/globals'
import { KeyCursor } from './key-cursor.ts'
import { createKvIndexState } from './kv-index-state.ts'
import { KvIndex } from './kv-index.ts'
import { KvTable } from './kv-table.ts'
import { count, tokens } from './testing.ts'
import type { TokenIds } from './token-ids.ts'

const BLOCK = 4
const OWNER = 1
const OTHER = 2

afterEach(() => {
  jest.restoreAllMocks()
})

const promptOf = (prompt: number): TokenIds => tokens([count(prompt * 100 + BLOCK, prompt * 100 + 1)])

function keyOf(prompt: number): { readonly low: number; readonly high: number } {
  const cursor = new KeyCursor()
  cursor.begin(promptOf(prompt), '', '')
  cursor.nextPrompt()
  cursor.advance(BLOCK)
  return { low: cursor.low, high: cursor.high }
}

class Halt extends Error {}

/** Calls `act` before the `at`th call of these, for as long as the mocks are there. */
function before(names: readonly ('load' | 'store' | 'add' | 'or' | 'and')[], at: number, act: () => void): void {
  let calls = 0
  for (const name of names) {
    const real = Atomics[name] as (...args: unknown[]) => unknown
    jest.spyOn(Atomics, name).mockImplementation(((...args: unknown[]) => {
      if (calls++ === at) act()
      return real(...args)
    }) as never)
  }
}

/** A table in which one endpoint holds the block of prompt 0, and the prompt whose block takes that very place next. */
function play() {
  const state = createKvIndexState(32, 1, 1, 1 << 20)
  const table = new KvTable(state)
  const index = new KvIndex(state, [1])
  for (const slot of [OWNER, OTHER]) table.register(slot, BLOCK)
  const first = keyOf(0)
  const entry = table.claim(first.low, first.high, BLOCK)
  table.put(entry, 0, OWNER)
  let next = 1
  for (; ; next++) {
    const { low, high } = keyOf(next)
    table.evict(entry)
    const taken = table.claim(low, high, BLOCK)
    table.evict(taken)
    table.put(table.claim(first.low, first.high, BLOCK), 0, OWNER)
    if (taken === entry) break
  }
  const second = keyOf(next)
  const matched = new Float64Array(state.slots)
  return {
    /** Its block goes, and the other one's comes in its place. */
    change: () => {
      table.take(entry, 0, OWNER)
      expect(table.claim(second.low, second.high, BLOCK)).toBe(entry)
      table.put(entry, 0, OTHER)
    },
    /** Who holds a block of the prompt. */
    holders: (prompt: number): number[] => {
      index.match(promptOf(prompt), '', '', matched, undefined, 0)
      return [...matched.keys()].filter(slot => matched[slot]! > 0)
    },
    next,
  }
}

/** How often something is done in a run. */
function callsOf(names: Parameters<typeof before>[0], run: () => void): number {
  let calls = 0
  const spies = names.map(name => {
    const real = Atomics[name] as (...args: unknown[]) => unknown
    return jest.spyOn(Atomics, name).mockImplementation(((...args: unknown[]) => {
      calls++
      return real(...args)
    }) as never)
  })
  run()
  for (const spy of spies) spy.mockRestore()
  return calls
}

const WRITES = ['store', 'add', 'or', 'and'] as const

it('a block is never taken for another one, whatever the writer has done between two reads', () => {
  const reads = callsOf(['load'], () => play().holders(0))
  const writes = callsOf(WRITES, () => play().change()) - callsOf(WRITES, () => play())
  expect([reads > 5, writes > 10]).toEqual([true, true])
  const seen = new Set<string>()
  for (let read = 0; read < reads; read++) {
    // The last one: the writer gets to its end.
    for (let write = 0; write <= writes; write++) {
      const { change, holders, next } = play()
      before(['load'], read, () => {
        before(WRITES, write, () => {
          throw new Halt()
        })
        try {
          change()
        } catch (error) {
          if (!(error instanceof Halt)) throw error
        }
      })
      const found = holders(0).join()
      jest.restoreAllMocks()
      seen.add(found)
      expect([read, write, found]).toEqual([read, write, found === '' ? '' : `${OWNER}`])
      // Whoever looks for the other one sees it, or nobody yet.
      expect(['', `${OTHER}`]).toContain(holders(next).join())
    }
  }
  expect(seen).toEqual(new Set(['', `${OWNER}`]))
})
