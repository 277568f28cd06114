import { expect, it } from '@jest/globals'
import { LabelLimit } from './label-limit.ts'
import { Retirement } from './retirement.ts'
import type { SeriesFamily } from './series-family.ts'
import { SeriesTotals } from './series-totals.ts'
import { createSeriesMemory, SeriesWriter } from './shared-series.ts'

const FAMILIES: readonly SeriesFamily[] = [
  { name: 'a', type: 'counter', help: 'a', labels: ['x', 'y'] },
  { name: 'b', type: 'gauge', help: 'b', labels: ['x'] },
]

/** A thread with one place, `old`, of 100 series, which `late` asks for. */
function play() {
  const memory = createSeriesMemory()
  const writer = new SeriesWriter(FAMILIES, memory)
  const limit = new LabelLimit(10, 1)
  const retirement = new Retirement(writer, limit, new Set(['x']))
  limit.admit('old')
  for (let i = 0; i < 100; i++) writer.add(writer.series(0, ['old', `y${i}`]))
  const running = writer.series(1, ['old'])
  for (let tick = 0; tick < 9; tick++) retirement.tick()
  for (const name of ['late', 'late']) limit.admit(name)
  const count = (value: string) => {
    const totals = new SeriesTotals(FAMILIES, [memory])
    totals.refresh()
    return totals.samples(0).filter(({ labels }) => labels[0] === value).length
  }
  return { memory, writer, limit, retirement, running, count }
}

it('a few series at a time, and the place is free when all are done', () => {
  const { limit, retirement, count } = play()
  expect(retirement.step(10)).toBe(0)
  retirement.tick()
  const steps: number[] = []
  while (count('old') > 0) {
    expect(limit.admit('late')).toBe('other')
    steps.push(retirement.step(10))
  }
  expect(steps.length).toBeGreaterThanOrEqual(10)
  expect(Math.max(...steps)).toBe(10)
  while (retirement.step(10) > 0);
  expect(['late', 'old'].map(name => limit.admit(name))).toEqual(['late', 'other'])
  expect(count('other')).toBe(100)
})

it('who is seen again before all is done keeps the place, and what is left', () => {
  const { limit, retirement, count } = play()
  retirement.tick()
  retirement.step(30)
  const left = count('old')
  expect(left).toBeGreaterThan(0)
  expect(left).toBeLessThan(100)
  expect(limit.admit('old')).toBe('old')
  expect(retirement.step(1000)).toBe(0)
  expect(count('old')).toBe(left)
  expect(limit.admit('late')).toBe('other')
})

it('who has something under way keeps the place and all counts', () => {
  const { limit, retirement, count, writer, running } = play()
  writer.add(running)
  retirement.tick()
  while (retirement.step(10) > 0);
  expect(count('old')).toBe(100)
  expect(limit.admit('late')).toBe('other')
  writer.add(running, -1)
  retirement.tick()
  while (retirement.step(10) > 0);
  expect(count('old')).toBe(0)
})

it('a tick in the middle of it goes on with what is left', () => {
  const { limit, retirement, count } = play()
  retirement.tick()
  for (let i = 0; i < 50 && count('old') > 0; i++) {
    retirement.step(10)
    limit.admit('late')
    retirement.tick()
  }
  expect(count('old')).toBe(0)
})

it('waits while the main thread reads: that would have to begin anew for every step', () => {
  const { memory, retirement } = play()
  retirement.tick()
  let asked = 0
  const totals = new SeriesTotals(FAMILIES, [memory], () => (_, value) => {
    if (asked++ < 1000) expect(retirement.step(10)).toBe(0)
    return value
  })
  totals.refresh()
  expect(asked).toBe(201)
  expect(retirement.step(10)).toBe(10)
})
