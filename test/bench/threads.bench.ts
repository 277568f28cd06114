/**
 * Picks per second on two threads as a multiple of one: worker threads that pick from one pool's shared memory, with prompts, releases and
 * scrapes from the main thread. Goal: 1.8. Pairs of runs close to each other, median of the ratios, as other work on the machine comes and goes. What
 * the machine itself gives two threads that share nothing (a loop of arithmetic) stands beside it: it is not two everywhere.
 *
 *     node test/bench/threads.bench.ts
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { ALONE } from '../../src/inference/endpoint-slots.ts'
import { PoolKeeper } from '../../src/inference/pool-keeper.ts'
import type { PoolShare } from '../../src/inference/pool-share.ts'
import { PickResult, Pool } from '../../src/inference/pool.ts'
import { addresses, hasherOf, poolPlan, request, scrape } from '../../src/inference/testing.ts'
import { median } from './statistics.ts'

const ENDPOINTS = 8
const PROMPT_BYTES = 16 * 1024
const SECONDS = 1
const ROUNDS = 7

interface Start {
  readonly share: PoolShare
  readonly thread: number
}

/** The yardstick: nothing in memory, nothing shared. */
function countFor(seconds: number): number {
  let rounds = 0
  let x = 1
  for (const until = performance.now() + seconds * 1000; performance.now() < until; rounds++) {
    for (let i = 0; i < 20_000; i++) x = (Math.imul(x, 1_103_515_245) + 12_345) | 0
  }
  // Never true, but the loop has a use.
  return x === 0.5 ? 0 : rounds / seconds
}

async function measureMachine(threads: number): Promise<number> {
  const rates = await Promise.all(
    Array.from({ length: threads }, () => firstMessage<number>(new Worker(new URL(import.meta.url)))),
  )
  return rates.reduce((sum, rate) => sum + rate, 0)
}

function firstMessage<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
}

function pickFor(seconds: number, { share, thread }: Start): { readonly picks: number; readonly cpuMs: number } {
  const pool = new Pool(share, { releaseBy: 'response', thread, seed: thread })
  const hashers = Array.from({ length: 256 }, (_, i) => hasherOf('shared '.repeat(1000) + `${i} own `.repeat(2000)))
  const result = new PickResult()
  const wish = request({ promptBytes: PROMPT_BYTES })
  const run = (until: number) => {
    let picks = 0
    while (performance.now() < until) {
      for (let i = 0; i < 100; i++, picks++) {
        wish.prefix = hashers[(picks * 31) % hashers.length]
        pool.pick(wish, result)
        pool.inFlight.release(result.slots[0]!, result.generations[0]!)
      }
    }
    return picks
  }
  run(performance.now() + 300)
  const before = process.threadCpuUsage()
  const picks = run(performance.now() + seconds * 1000)
  const { user, system } = process.threadCpuUsage(before)
  return { picks, cpuMs: (user + system) / 1000 }
}

/** Picks per second of wall time, and per second of the threads' CPU time summed up. */
async function measure(threads: number): Promise<{ readonly rate: number; readonly cpuRate: number }> {
  const keeper = new PoolKeeper(poolPlan(addresses(ENDPOINTS)), { releaseBy: 'response', threads: threads + 1 }, ALONE)
  const workers = Array.from({ length: threads }, (_, i) => {
    const start: Start = { share: keeper.share(), thread: i + 1 }
    return new Worker(new URL(import.meta.url), { workerData: start })
  })
  let turn = 0
  const scraping = setInterval(() => {
    const i = turn++
    scrape(keeper, i % ENDPOINTS, { waiting: i % 3, running: i % 17, kvUsage: (i % 10) / 10 }, 1000)
  }, 6)
  const results = await Promise.all(workers.map(worker => firstMessage<ReturnType<typeof pickFor>>(worker)))
  clearInterval(scraping)
  return {
    rate: results.reduce((sum, { picks }) => sum + picks, 0) / SECONDS,
    cpuRate: results.reduce((sum, { picks, cpuMs }) => sum + (picks / cpuMs) * 1000, 0),
  }
}

if (isMainThread) {
  const wall: number[] = []
  const cpu: number[] = []
  const machine: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const [one, two] = [await measure(1), await measure(2)]
    wall.push(two.rate / one.rate)
    machine.push((await measureMachine(2)) / (await measureMachine(1)))
    cpu.push(two.cpuRate / one.cpuRate)
    console.log(
      `one ${one.rate.toFixed(0)} picks/s, two ${two.rate.toFixed(0)}: × ${wall.at(-1)!.toFixed(2)} (per CPU time × ${cpu.at(-1)!.toFixed(2)}, the machine × ${machine.at(-1)!.toFixed(2)})`,
    )
  }
  const ratio = median(wall)
  console.log(`median: × ${ratio.toFixed(2)} of wall time, × ${median(cpu).toFixed(2)} of CPU time`)
  console.log(JSON.stringify({ ratio, machine: median(machine) }))
} else {
  const start = workerData as Start | undefined
  parentPort!.postMessage(start === undefined ? countFor(SECONDS / 2) : pickFor(SECONDS, start))
}
