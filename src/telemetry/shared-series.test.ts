import { describe, expect, it } from '@jest/globals'
import { LabelLimit } from './label-limit.ts'
import { SeriesTotals } from './series-totals.ts'
import type { SeriesFamily } from './series-family.ts'
import { createSeriesMemory, ENTRY_WORDS, MAX_SERIES, SeriesMemory, SeriesWriter } from './shared-series.ts'
import type { ValueIndex } from './value-index.ts'

const FAMILIES: readonly SeriesFamily[] = [
  { name: 'a', type: 'counter', help: 'a', labels: ['x', 'y'] },
  { name: 'b', type: 'histogram', help: 'b', labels: [], buckets: [1, 10] },
  { name: 'c', type: 'gauge', help: 'c', labels: ['x'] },
]

/** Gives a value up. Returns how many series were folded by that. */
function stepsOf(writer: SeriesWriter, index: ValueIndex, value: string): { gone: boolean; steps: number } {
  const turn = writer.retire(index, value)
  for (let steps = 0; ; steps++) {
    const { done, value: gone } = turn.next()
    if (done === true) return { gone, steps }
  }
}

it('threads’ series are summed up by their labels', () => {
  const memories = [createSeriesMemory(), createSeriesMemory()]
  const [one, other] = memories.map(memory => new SeriesWriter(FAMILIES, memory))
  one!.add(one!.series(0, ['é', '']))
  other!.add(other!.series(0, ['z', 'w']), 2)
  other!.add(other!.series(0, ['é', '']), 3)
  for (const value of [0.5, 1, 10, 11, Number.NaN]) one!.observe(1, one!.series(1, []), value)
  const totals = new SeriesTotals(FAMILIES, memories)
  totals.refresh()
  expect(totals.samples(0)).toEqual([
    { labels: ['é', ''], value: 4 },
    { labels: ['z', 'w'], value: 2 },
  ])
  expect(totals.histograms(1)).toEqual([{ labels: [], buckets: [2, 1, 1], sum: 22.5 }])
  one!.add(one!.series(0, ['é', '']))
  totals.refresh()
  expect(totals.samples(0)[0]!.value).toBe(5)
})

it('a successor goes on where a dead thread stopped, without what that had under way', () => {
  const memory = createSeriesMemory()
  const first = new SeriesWriter(FAMILIES, memory)
  first.add(first.series(0, ['x', 'y']))
  first.observe(1, first.series(1, []), 5)
  first.add(first.series(2, ['x']), 7)
  const totals = new SeriesTotals(FAMILIES, [memory])
  totals.clearGauges(0)
  const second = new SeriesWriter(FAMILIES, memory)
  second.add(second.series(0, ['x', 'y']))
  second.add(second.series(0, ['new', 'y']))
  totals.refresh()
  expect(totals.samples(0).map(({ value }) => value)).toEqual([2, 1])
  expect(totals.histograms(1)[0]!.buckets).toEqual([0, 1, 0])
  expect(totals.samples(2)).toEqual([{ labels: ['x'], value: 0 }])
})

it('series that have no place are counted together, and none is lost', () => {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(FAMILIES, memory)
  const many = MAX_SERIES + 1000
  for (let i = 0; i < many; i++) writer.add(writer.series(0, [`x${i}`, 'long'.repeat(100)]))
  writer.observe(1, writer.series(1, []), 3)
  writer.add(writer.series(2, ['late']))
  const totals = new SeriesTotals(FAMILIES, [memory])
  totals.refresh()
  const samples = totals.samples(0)
  expect(samples.reduce((sum, { value }) => sum + value, 0)).toBe(many)
  expect(samples.find(({ labels }) => labels[0] === 'other')!.value).toBeGreaterThan(1)
  expect(samples[0]!.labels[1]).toHaveLength(256)
  expect(totals.histograms(1)[0]!.sum).toBe(3)
  expect(totals.samples(2)).toHaveLength(1)
})

it('labels may hold anything', () => {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(FAMILIES, memory)
  for (const label of ['a\0b', '\ud800', '"\n\\', '']) writer.add(writer.series(0, [label, 'y']))
  const totals = new SeriesTotals(FAMILIES, [memory])
  totals.refresh()
  expect(totals.samples(0).map(({ labels }) => labels)).toEqual([
    ['a�b', 'y'],
    ['�', 'y'],
    ['"\n\\', 'y'],
    ['', 'y'],
  ])
})

it('clients’ values are bounded, those of the configuration are not', () => {
  const limit = new LabelLimit(2)
  limit.setConfigured(['known'])
  expect(['a', 'b', 'c', 'known', 'a', 'd'].map(value => limit.admit(value))).toEqual([
    'a',
    'b',
    'other',
    'known',
    'a',
    'other',
  ])
})

it('what each thread tells apart becomes as many values for the process', () => {
  const memories = [createSeriesMemory(), createSeriesMemory()]
  const limit = new LabelLimit(1)
  for (const [i, memory] of memories.entries()) {
    const writer = new SeriesWriter(FAMILIES, memory)
    for (const label of [`thread ${i}`, 'both']) writer.add(writer.series(2, [label]))
  }
  const totals = new SeriesTotals(FAMILIES, memories, () => (_, value) => limit.admit(value))
  totals.refresh()
  expect(totals.samples(2)).toEqual([
    { labels: ['thread 0'], value: 1 },
    { labels: ['other'], value: 3 },
  ])
})

describe('values that are given up', () => {
  const X = new Set(['x'])
  const retire = (writer: SeriesWriter, index: ValueIndex, ...values: readonly string[]): string[] =>
    values.filter(value => stepsOf(writer, index, value).gone)

  it('are counted as other, and their series serve again', () => {
    const memory = createSeriesMemory()
    const writer = new SeriesWriter(FAMILIES, memory)
    const x = writer.index(X)
    const totals = new SeriesTotals(FAMILIES, [memory])
    for (const [value, times] of [
      ['old', 3],
      ['kept', 2],
      ['gone', 1],
    ] as const) {
      writer.add(writer.series(0, [value, 'y']), times)
      writer.series(2, [value])
    }
    totals.refresh()
    expect(retire(writer, x, 'old', 'gone', 'never')).toEqual(['old', 'gone', 'never'])
    totals.refresh()
    expect(totals.samples(0)).toEqual([
      { labels: ['kept', 'y'], value: 2 },
      { labels: ['other', 'y'], value: 4 },
    ])
    expect(totals.samples(2).map(({ labels }) => labels[0])).toEqual(['kept', 'other'])
    // The label `y` has other values, though they may be the same text.
    writer.add(writer.series(0, ['kept', 'kept']))
    // An index knows what came before it.
    expect(retire(writer, writer.index(new Set(['y'])), 'kept')).toEqual(['kept'])
    const sizes = new SeriesMemory(memory).size[0]
    for (let round = 0; round < 100; round++) {
      writer.add(writer.series(0, [`new${round}`, 'y']))
      writer.series(2, [`new${round}`])
      expect(retire(writer, x, `new${round}`)).toEqual([`new${round}`])
    }
    writer.add(writer.series(0, ['a longer name than any before', 'y']))
    totals.refresh()
    expect(new SeriesMemory(memory).size[0]).toBe(sizes)
    expect(totals.samples(0)).toEqual(
      expect.arrayContaining([
        { labels: ['other', 'y'], value: 104 },
        { labels: ['a longer name than any before', 'y'], value: 1 },
        { labels: ['kept', 'y'], value: 2 },
        { labels: ['kept', 'other'], value: 1 },
      ]),
    )
    // A successor knows what is free.
    const successor = new SeriesWriter(FAMILIES, memory)
    successor.add(successor.series(0, ['kept', 'y']))
    successor.series(2, ['again'])
    expect(new SeriesMemory(memory).size[0]).toBe(sizes)
    totals.refresh()
    expect(totals.samples(0).find(({ labels }) => labels.join() === 'kept,y')!.value).toBe(3)
  })

  it('looks at the series of the value only, however many others there are', () => {
    const writer = new SeriesWriter(FAMILIES, createSeriesMemory())
    const x = writer.index(X)
    for (let i = 0; i < 10_000; i++) writer.series(0, [`other${i}`, 'old'])
    for (let i = 0; i < 3; i++) writer.series(0, ['old', `y${i}`])
    writer.series(2, ['old'])
    expect(stepsOf(writer, x, 'old')).toEqual({ gone: true, steps: 4 })
    expect(stepsOf(writer, x, 'old')).toEqual({ gone: true, steps: 0 })
  })

  it('what clients call other keeps its counts', () => {
    const memory = createSeriesMemory()
    const writer = new SeriesWriter(FAMILIES, memory)
    const x = writer.index(X)
    writer.add(writer.series(0, ['other', 'y']), 7)
    writer.add(writer.series(0, ['other', 'other']), 5)
    expect(retire(writer, x, 'other')).toEqual(['other'])
    const totals = new SeriesTotals(FAMILIES, [memory])
    totals.refresh()
    expect(totals.samples(0).map(({ value }) => value)).toEqual([7, 5])
  })

  it('a value at two labels, and an empty one, are folded once', () => {
    const memory = createSeriesMemory()
    const writer = new SeriesWriter(FAMILIES, memory)
    const both = writer.index(new Set(['x', 'y']))
    writer.add(writer.series(0, ['a', 'a']), 2)
    writer.add(writer.series(0, ['a', 'b']), 3)
    writer.series(2, [''])
    expect(retire(writer, both, 'a', 'b', '')).toEqual(['a', 'b', ''])
    const totals = new SeriesTotals(FAMILIES, [memory])
    totals.refresh()
    expect(totals.samples(0)).toEqual([{ labels: ['other', 'other'], value: 5 }])
    expect(totals.samples(2)).toEqual([{ labels: ['other'], value: 0 }])
  })

  it('of any lengths come and go for days in the same room', () => {
    const memory = createSeriesMemory()
    let writer = new SeriesWriter(FAMILIES, memory)
    let x = writer.index(X)
    const { directory, size } = new SeriesMemory(memory)
    const ends: number[] = []
    for (let day = 0; day < 3; day++) {
      for (let round = 0; round < 3000; round++) {
        const names = Array.from(
          { length: 5 },
          (_, i) => `${day}-${round}-${i}-${'é'.repeat((round * 37 + i * 61) % 240)}`,
        )
        for (const name of names) writer.add(writer.series(0, [name, 'y']))
        retire(writer, x, ...names)
      }
      let end = 0
      for (let series = 0; series < size[0]!; series++) end = Math.max(end, directory[series * ENTRY_WORDS + 2]!)
      ends.push(end)
      // So for a successor.
      writer = new SeriesWriter(FAMILIES, memory)
      x = writer.index(X)
    }
    // Five texts of not more than eight blocks, and that of `other`.
    expect(Math.max(...ends)).toBeLessThanOrEqual(5 * 8 + 1)
    const long = 'z'.repeat(256)
    writer.add(writer.series(0, [long, long]))
    const totals = new SeriesTotals(FAMILIES, [memory])
    totals.refresh()
    expect(totals.samples(0)).toEqual(
      expect.arrayContaining([
        { labels: [long, long], value: 1 },
        { labels: ['other', 'y'], value: 45_000 },
      ]),
    )
  })

  it('stay while something of them is under way', () => {
    const memory = createSeriesMemory()
    const writer = new SeriesWriter(FAMILIES, memory)
    const x = writer.index(X)
    const running = writer.series(2, ['busy'])
    writer.add(running)
    writer.add(writer.series(0, ['busy', 'y']))
    expect(retire(writer, x, 'busy', 'idle')).toEqual(['idle'])
    writer.add(running, -1)
    expect(retire(writer, x, 'busy')).toEqual(['busy'])
    const totals = new SeriesTotals(FAMILIES, [memory])
    totals.refresh()
    expect(totals.samples(0)).toEqual([{ labels: ['other', 'y'], value: 1 }])
  })

  it('what a thread died in the middle of does not keep others from being read', () => {
    const memory = createSeriesMemory()
    const writer = new SeriesWriter(FAMILIES, memory)
    writer.add(writer.series(0, ['a', 'b']))
    const totals = new SeriesTotals(FAMILIES, [memory])
    Atomics.add(new SeriesMemory(memory).version, 0, 1)
    totals.refresh()
    expect(totals.samples(0)).toEqual([])
    totals.clearGauges(0)
    totals.refresh()
    expect(totals.samples(0)).toEqual([{ labels: ['a', 'b'], value: 1 }])
  })

  it('a reader that a change overtakes reads again', () => {
    const memory = createSeriesMemory()
    const writer = new SeriesWriter(FAMILIES, memory)
    writer.add(writer.series(0, ['a', 'y']), 5)
    writer.add(writer.series(0, ['b', 'y']), 7)
    const x = writer.index(X)
    let changes = 0
    const totals = new SeriesTotals(FAMILIES, [memory], () => (_, value) => {
      if (value === 'b' && changes++ === 0) {
        retire(writer, x, 'a')
        writer.add(writer.series(0, ['c', 'y']), 1)
      }
      return value
    })
    totals.refresh()
    const sorted = totals.samples(0).map(({ labels, value }) => `${labels[0]} ${value}`)
    expect(sorted.sort()).toEqual(['b 7', 'c 1', 'other 5'])
  })
})
