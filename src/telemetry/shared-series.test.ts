import { describe, expect, it } from '@jest/globals'
import { LabelLimit } from './label-limit.ts'
import { SeriesTotals } from './series-totals.ts'
import type { SeriesFamily } from './series-family.ts'
import { createSeriesMemory, MAX_SERIES, SeriesMemory, SeriesWriter } from './shared-series.ts'

const FAMILIES: readonly SeriesFamily[] = [
  { name: 'a', type: 'counter', help: 'a', labels: ['x', 'y'] },
  { name: 'b', type: 'histogram', help: 'b', labels: [], buckets: [1, 10] },
  { name: 'c', type: 'gauge', help: 'c', labels: ['x'] },
]

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

  it('are counted as other, and their series serve again', () => {
    const memory = createSeriesMemory()
    const writer = new SeriesWriter(FAMILIES, memory)
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
    expect(writer.retire(X, ['old', 'gone', 'never'])).toEqual(['old', 'gone', 'never'])
    totals.refresh()
    expect(totals.samples(0)).toEqual([
      { labels: ['kept', 'y'], value: 2 },
      { labels: ['other', 'y'], value: 4 },
    ])
    expect(totals.samples(2).map(({ labels }) => labels[0])).toEqual(['kept', 'other'])
    // The label `y` has other values, though they may be the same text.
    writer.add(writer.series(0, ['kept', 'kept']))
    expect(writer.retire(new Set(['y']), ['kept'])).toEqual(['kept'])
    const sizes = new SeriesMemory(memory).size[0]
    for (let round = 0; round < 100; round++) {
      writer.add(writer.series(0, [`new${round}`, 'y']))
      writer.series(2, [`new${round}`])
      expect(writer.retire(X, [`new${round}`])).toEqual([`new${round}`])
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

  it('stay while something of them is under way', () => {
    const memory = createSeriesMemory()
    const writer = new SeriesWriter(FAMILIES, memory)
    const running = writer.series(2, ['busy'])
    writer.add(running)
    writer.add(writer.series(0, ['busy', 'y']))
    expect(writer.retire(X, ['busy', 'idle'])).toEqual(['idle'])
    writer.add(running, -1)
    expect(writer.retire(X, ['busy'])).toEqual(['busy'])
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
    let changes = 0
    const totals = new SeriesTotals(FAMILIES, [memory], () => (_, value) => {
      if (value === 'b' && changes++ === 0) {
        writer.retire(X, ['a'])
        writer.add(writer.series(0, ['c', 'y']), 1)
      }
      return value
    })
    totals.refresh()
    const sorted = totals.samples(0).map(({ labels, value }) => `${labels[0]} ${value}`)
    expect(sorted.sort()).toEqual(['b 7', 'c 1', 'other 5'])
  })
})
