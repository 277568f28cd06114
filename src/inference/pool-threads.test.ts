import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { expect, it } from '@jest/globals'
import type { FromHammer, HammerStart, ToHammer } from './pool-hammer.testing.ts'
import { PoolKeeper } from './pool-keeper.ts'
import { addresses, poolPlan, scrape } from './testing.ts'

const MODULE = fileURLToPath(new URL('./pool-hammer.testing.ts', import.meta.url))

class Hammer {
  adopted = 0
  readonly stopped: Promise<Extract<FromHammer, { type: 'stopped' }>>
  readonly #worker: Worker

  constructor(keeper: PoolKeeper, thread: number) {
    this.#worker = new Worker(MODULE, { workerData: { share: keeper.share(), thread } satisfies HammerStart })
    this.stopped = new Promise((resolve, reject) => {
      this.#worker.on('error', reject)
      this.#worker.on('message', (message: FromHammer) => {
        if (message.type === 'adopted') this.adopted = message.version
        else resolve(message)
      })
    })
    this.stopped.catch(() => {})
  }

  post(message: ToHammer): void {
    this.#worker.postMessage(message)
  }

  async kill(): Promise<void> {
    await this.#worker.terminate()
  }
}

it('three threads count exactly while endpoints come and go, the table grows and one of them dies', async () => {
  const names = addresses(400)
  const keeper = new PoolKeeper(
    poolPlan(names.slice(0, 4)),
    { releaseBy: 'response', threads: 4 },
    { version: 0, adopted: 0 },
  )
  let hammers = [1, 2, 3].map(thread => new Hammer(keeper, thread))
  let version = 0
  const run = (list: readonly string[]) => {
    version++
    keeper.update(poolPlan(list), { version, adopted: Math.min(...hammers.map(({ adopted }) => adopted)) })
    for (const hammer of hammers) hammer.post({ type: 'adopt', version, share: keeper.share() })
  }
  const settled = async () => {
    while (hammers.some(({ adopted }) => adopted < version)) await delay(5)
  }
  for (let round = 0; round < 60; round++) {
    // A window that moves and grows, so that every slot is freed and taken again; sometimes faster than threads follow.
    const size = 4 + round * 3
    run(names.slice(round * 3, round * 3 + size))
    for (let i = 0; i < 4; i++)
      scrape(keeper, keeper.table.live[i % keeper.table.liveCount]!, { running: i }, 1000 + round)
    if (round % 3 === 0) await settled()
    else await delay(2)
  }
  expect(keeper.table.capacity).toBeGreaterThanOrEqual(256)
  await settled()
  await hammers[1]!.kill()
  keeper.threadDied(2)
  hammers = [hammers[0]!, hammers[2]!]
  for (const hammer of hammers) hammer.post({ type: 'stop' })
  const results = await Promise.all(hammers.map(({ stopped }) => stopped))
  await Promise.all(hammers.map(hammer => hammer.kill()))
  const open = new Map<string, number>()
  for (const result of results) {
    expect(result.picks).toBeGreaterThan(1000)
    for (const [address, count] of result.open) open.set(address, (open.get(address) ?? 0) + count)
  }
  const counted = new Map(
    keeper
      .snapshot()
      .filter(({ inFlight }) => inFlight > 0)
      .map(({ address, inFlight }) => [address, inFlight]),
  )
  expect(counted).toEqual(new Map(open))
}, 60_000)
