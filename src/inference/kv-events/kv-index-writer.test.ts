import { describe, expect, it } from '@jest/globals'
import { finish } from '../prefix-hasher.ts'
import { WAYS } from './kv-index-state.ts'
import { KvIndexWriter } from './kv-index-writer.ts'
import { KvTable } from './kv-table.ts'

const low = (key: number): number => finish(key) | 1
const high = (key: number): number => finish(key ^ 0x55555555)
const MAX_BYTES = 64 * 1024 * 1024

function writerOf(maxKeys = Number.MAX_SAFE_INTEGER) {
  const moves: number[] = []
  const writer: KvIndexWriter = new KvIndexWriter({
    slots: 32,
    tiers: 1,
    maxBytes: MAX_BYTES,
    maxKeys,
    onState: () => moves.push(writer.state.buckets),
  })
  writer.register(1, 16)
  return { writer, moves }
}

const add = (writer: KvIndexWriter, key: number) => writer.add(low(key), high(key), 1, 0, key)
const remove = (writer: KvIndexWriter, key: number) => writer.remove(low(key), high(key), 1, 0)
const has = (writer: KvIndexWriter, key: number) => new KvTable(writer.state).find(low(key), high(key)) >= 0

describe('a table that moves to a larger one', () => {
  it('does so bit by bit: readers keep the old one, which stays true, until all is there', () => {
    const { writer, moves } = writerOf()
    const { state, bytes } = writer
    let key = 0
    while (writer.bytes === bytes) add(writer, key++)
    // Every second one of those that were there goes while it moves, and others come.
    let changes = 0
    for (let old = 0; writer.state === state; old += 2, changes++) {
      remove(writer, old)
      expect(has(writer, old)).toBe(false)
      add(writer, key++)
    }
    expect(changes).toBeGreaterThan(state.buckets / 20)
    expect(moves).toEqual([2 * state.buckets])
    expect(writer.evicted).toBe(0)
    const table = new KvTable(writer.state)
    const found = Array.from({ length: key }, (_, at) => table.find(low(at), high(at)) >= 0)
    const wanted = Array.from({ length: key }, (_, at) => at % 2 === 1 || at >= 2 * changes)
    expect(found).toEqual(wanted)
    expect(writer.keys).toBe(key - changes)
  })

  it('loses nothing while it doubles again and again, nor when slots come in the middle of it', () => {
    const { writer } = writerOf()
    const before = writer.bytes
    let key = 0
    while (writer.bytes === before) add(writer, key++)
    writer.reserve(100)
    expect(writer.state.slots).toBe(128)
    while (key < 40_000 || writer.bytes > writer.state.memory.byteLength) add(writer, key++)
    expect(writer.evicted).toBe(0)
    expect(writer.keys).toBe(key)
    expect(writer.state.buckets * WAYS).toBeGreaterThan(key)
    for (let at = 0; at < key; at++) remove(writer, at)
    expect(writer.keys).toBe(0)
  })

  it('keeps within its number of keys', () => {
    const { writer } = writerOf(6000)
    for (let key = 0; key < 20_000; key++) add(writer, key)
    for (let key = 20_000; key < 30_000; key++) add(writer, key)
    expect(writer.keys).toBeLessThanOrEqual(6000)
    expect(writer.keys).toBeGreaterThan(5000)
    expect(writer.evicted).toBe(30_000 - writer.keys)
  })
})
