import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { ALONE } from '../inference/endpoint-slots.ts'
import { PoolKeeper } from '../inference/pool-keeper.ts'
import { addresses, poolPlan } from '../inference/testing.ts'
import { ModelNews } from './model-news.ts'

describe('ModelNews', () => {
  let told: number[] = []
  let news: ModelNews
  beforeEach(() => {
    jest.useFakeTimers()
    told = []
    news = new ModelNews((_pool, { lists }) => told.push(lists.length))
  })
  afterEach(() => {
    news.stop()
    jest.useRealTimers()
  })

  function listAll(endpoints: number): void {
    const options = { releaseBy: 'scrape', threads: 1, onModels: (pool: PoolKeeper) => news.changed(pool) } as const
    const keeper = new PoolKeeper(poolPlan(addresses(endpoints)), options, ALONE)
    const { table } = keeper
    for (let i = 0; i < table.liveCount; i++) {
      const slot = table.live[i]!
      keeper.listed(slot, table.currentGeneration[slot]!, [{ id: 'base' }])
      jest.advanceTimersByTime(1)
    }
  }

  it('tells each change of a pool as usual', () => {
    listAll(8)
    expect(told).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(jest.getTimerCount()).toBe(0)
  })

  it('tells the changes of a large pool together, the last one too', () => {
    listAll(2000)
    expect(told.length).toBeLessThan(150)
    jest.advanceTimersByTime(1000)
    expect(told.at(-1)).toBe(2000)
    expect(jest.getTimerCount()).toBe(0)
  })

  it('says nothing after its end', () => {
    listAll(2000)
    const before = told.length
    news.stop()
    jest.advanceTimersByTime(1000)
    expect(told.length).toBe(before)
  })
})
