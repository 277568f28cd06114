/**
 * Cost of scraping: 100 endpoints every 50 ms with a vLLM page of 403 lines, and of parsing that page. The endpoints are `fakevllm`
 * where it can be built, else a small server of ours. Goal: 0.15 core, none lost (llm-d: 1.8 cores and a third lost). CPU is that of
 * this process, which does nothing else.
 *
 *     node test/bench/scrape.bench.ts [--endpoints N] [--seconds N] [--at ADDRESS,…]
 */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { EnginePage } from '../../src/inference/engine-page.ts'
import { DEFAULT_ENGINES, engineOf } from '../../src/inference/engines.ts'
import { MetricsParser } from '../../src/inference/metrics-parser.ts'
import { Scraper } from '../../src/inference/scraper.ts'
import { LocalPool, poolPlan } from '../../src/inference/testing.ts'
import { killAll } from './child-programs.ts'
import { startEndpoints } from './contenders.ts'
import { metricsPage } from './metrics-page.ts'
import { buildYardsticks } from './yardsticks.ts'

const INTERVAL = 50

const { values } = parseArgs({
  options: {
    endpoints: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '6' },
    at: { type: 'string', default: '' },
  },
})

function benchParser(): void {
  const bytes = Buffer.from(metricsPage())
  const parser = new MetricsParser(new EnginePage(engineOf(DEFAULT_ENGINES, {})))
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 6; round++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < 2000; i++) {
      parser.begin()
      parser.take(bytes, 0, bytes.length)
      if (parser.finish() === undefined) throw new Error('the page was not read')
    }
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1000 / 2000)
  }
  console.log(`parse a page of 403 lines, ${bytes.length} bytes: ${best.toFixed(1)} µs`)
}

async function benchScraper(addresses: readonly string[], seconds: number, idleIntervalMs: number): Promise<void> {
  const scrape = { intervalMs: INTERVAL, idleIntervalMs }
  const pool = new LocalPool(poolPlan(addresses, { scrape }), { releaseBy: 'scrape' })
  const scraper = new Scraper(pool)
  try {
    scraper.start()
    await delay(1500)
    const before = scraper.stats
    const cpu = process.cpuUsage()
    const start = performance.now()
    await delay(seconds * 1000)
    const { user, system } = process.cpuUsage(cpu)
    const elapsed = performance.now() - start
    const { good, failed, lastError } = scraper.stats
    const scrapes = good - before.good
    const done = scrapes / ((addresses.length * elapsed) / INTERVAL)
    const cores = (user + system) / 1000 / elapsed
    const rest = idleIntervalMs === 0 ? '' : `, resting up to ${idleIntervalMs} ms`
    console.log(`${addresses.length} endpoints every ${INTERVAL} ms${rest}: ${cores.toFixed(3)} core`)
    console.log(
      `  ${((user + system) / scrapes).toFixed(0)} µs a scrape; ${(done * 100).toFixed(1)} % of the scrapes done, ${failed} failed`,
    )
    if (failed > 0) console.log(`  last error: ${lastError}`)
    console.log(JSON.stringify({ cores, done, failed }))
  } finally {
    scraper.stop()
  }
}

async function endpoints(): Promise<readonly string[]> {
  if (values.at !== '') return values.at.split(',')
  const built = await buildYardsticks(join(import.meta.dirname, '..', '..'))
  return startEndpoints(Number(values.endpoints), typeof built === 'string' ? undefined : built)
}

try {
  benchParser()
  const addresses = await endpoints()
  await benchScraper(addresses, Number(values.seconds), 1000)
  // Last, as it is what the goal is for: none rests, also where a page says that nothing runs.
  await benchScraper(addresses, Number(values.seconds), 0)
} finally {
  killAll()
}
