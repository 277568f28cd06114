import { fromBinary } from '@bufbuild/protobuf'
import { expect, it } from '@jest/globals'
import { ReportSchema } from '../gen/signalbox/peers/v1/peers_pb.ts'
import { ALONE } from '../inference/endpoint-slots.ts'
import { PoolKeeper } from '../inference/pool-keeper.ts'
import { addresses, poolPlan } from '../inference/testing.ts'
import { Outbox } from './outbox.ts'

const OPTIONS = { releaseBy: 'response', threads: 2, peers: true } as const

function keeperOf(count: number): PoolKeeper {
  return new PoolKeeper(poolPlan(addresses(count)), OPTIONS, ALONE)
}

function told(outbox: Outbox) {
  const bytes = outbox.changes()
  return bytes === undefined ? undefined : fromBinary(ReportSchema, bytes).pools.flatMap(({ endpoints }) => endpoints)
}

it('tells each change once, also of endpoints that came when the table grew', () => {
  const keeper = keeperOf(3)
  const outbox = new Outbox(() => [keeper])
  expect(told(outbox)).toBeUndefined()
  keeper.table.decide(1, 7)
  const [, second, , , last] = addresses(100)
  expect(told(outbox)).toMatchObject([{ address: second, decided: 1, released: 0, tokens: 7 }])
  expect(told(outbox)).toBeUndefined()
  keeper.update(poolPlan(addresses(100)), ALONE)
  expect(told(outbox)).toBeUndefined()
  keeper.table.decide(keeper.table.slotOf(last!)!)
  keeper.table.release(1, keeper.table.generation[1]!, 7)
  expect(told(outbox)).toMatchObject([
    { address: second, decided: 1, released: 1, tokens: 0 },
    { address: last, decided: 1, released: 0 },
  ])
})

it('tells how many requests there are when that changes, and in any case after somebody was told all', () => {
  const keeper = keeperOf(3)
  const outbox = new Outbox(() => [keeper])
  const requests = () => {
    const bytes = outbox.changes()
    return bytes === undefined ? 'nothing' : fromBinary(ReportSchema, bytes).pools[0]!.requests
  }
  expect(requests()).toBe('nothing')
  keeper.table.decide(1)
  keeper.table.place(2)
  expect(requests()).toBe(1)
  // One endpoint is done, the request is not.
  keeper.table.unplace(2, keeper.table.generation[2]!, 0)
  expect(requests()).toBeUndefined()
  expect(requests()).toBe('nothing')
  keeper.table.decide(0)
  expect(fromBinary(ReportSchema, outbox.state('x')).pools[0]!.requests).toBe(2)
  keeper.table.release(0, keeper.table.generation[0]!)
  expect(requests()).toBe(1)
})

it('does not tell how many requests there are where it knows them by endpoint only', () => {
  const keeper = new PoolKeeper(poolPlan(addresses(3)), { ...OPTIONS, releaseBy: 'scrape' }, ALONE)
  const outbox = new Outbox(() => [keeper])
  keeper.table.decide(1)
  expect(fromBinary(ReportSchema, outbox.changes()!).pools[0]).not.toHaveProperty('requests')
  expect(fromBinary(ReportSchema, outbox.state('x')).pools[0]).not.toHaveProperty('requests')
})

it('makes no objects for endpoints at rest', () => {
  const endpoints = 4096
  const keeper = keeperOf(endpoints)
  const outbox = new Outbox(() => [keeper])
  const bytes = Array.from({ length: 101 }, () => {
    const before = process.memoryUsage().heapUsed
    outbox.changes()
    return process.memoryUsage().heapUsed - before
  })
  // The median: neither a collection nor a compilation counts. An object each would be ten times as much.
  expect(bytes.sort((a, b) => a - b)[50]).toBeLessThan(4 * endpoints)
})
