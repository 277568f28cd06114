/**
 * Cost of scraping: 100 endpoints every 50 ms with a vLLM page of 403 lines, and of parsing that page. The endpoints are
 * `fakevllm` (`SIGNALBOX_FAKEVLLM`, default /tmp/benchbin/fakevllm), or a small server in a child process where there is none.
 * Goal: 0.25 core, none lost (llm-d: 1.8 cores and a third lost). CPU is that of this process, which does nothing else.
 *
 *     node test/bench/scrape.bench.ts [endpoints]
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createVllmMetrics, parseVllmMetrics } from '../../src/inference/metrics-parser.ts'
import { Pool } from '../../src/inference/pool.ts'
import { Scraper } from '../../src/inference/scraper.ts'
import { poolPlan } from '../../src/inference/testing.ts'

const INTERVAL = 50
const SECONDS = 6
const FIRST_PORT = 23_000
const FAKE = process.env['SIGNALBOX_FAKEVLLM'] ?? '/tmp/benchbin/fakevllm'

/** A page like vLLM's: the gauges that count, then histograms. */
function page(): string {
  const labels = '{engine="0",model_name="m"}'
  const lines = [
    `vllm:num_requests_running${labels} 1.0`,
    `vllm:num_requests_waiting${labels} 0.0`,
    `vllm:kv_cache_usage_perc${labels} 0.1`,
    'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="31250"} 1.0',
    'vllm:lora_requests_info{max_lora="0",running_lora_adapters="",waiting_lora_adapters=""} 1.7e+09',
  ]
  for (let i = lines.length; i < 403; i++) {
    const name = `vllm:histogram_${Math.floor(i / 24)}_seconds_bucket`
    lines.push(`${name}{engine="0",le="${(0.001 * 1.7 ** (i % 24)).toPrecision(17)}",model_name="m"} ${i * 100}.0`)
  }
  return `${lines.join('\n')}\n`
}

/** The child process where there is no fakevllm: reports its ports. */
async function serve(count: number): Promise<void> {
  const body = page()
  const answer = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  const ports: number[] = []
  for (let i = 0; i < count; i++) {
    const server = createServer(socket => {
      socket.on('data', () => socket.write(answer))
      socket.on('error', () => undefined)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    ports.push((server.address() as { port: number }).port)
  }
  process.send!(ports)
  process.on('disconnect', () => process.exit())
}

async function startServer(count: number): Promise<[ChildProcess, readonly number[]]> {
  if (existsSync(FAKE)) {
    const child = spawn(FAKE, ['-moving', '-ports', `${FIRST_PORT}-${FIRST_PORT + count - 1}`], { stdio: 'ignore' })
    await delay(700)
    return [child, Array.from({ length: count }, (_, i) => FIRST_PORT + i)]
  }
  const child = fork(import.meta.filename, ['serve', String(count)])
  const ports = await new Promise<readonly number[]>(resolve =>
    child.once('message', message => resolve(message as number[])),
  )
  return [child, ports]
}

function benchParser(): void {
  const bytes = Buffer.from(page())
  const metrics = createVllmMetrics()
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 6; round++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < 5000; i++) if (!parseVllmMetrics(bytes, metrics)) throw new Error('the page was not read')
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1000 / 5000)
  }
  console.log(`parse a page of 403 lines, ${bytes.length} bytes: ${best.toFixed(1)} µs`)
}

async function benchScraper(count: number): Promise<void> {
  const [child, ports] = await startServer(count)
  const scrape = { intervalMs: INTERVAL }
  const pool = new Pool(
    poolPlan(
      ports.map(port => `127.0.0.1:${port}`),
      { scrape },
    ),
    { releaseBy: 'scrape' },
  )
  const scraper = new Scraper(pool)
  try {
    scraper.start()
    await delay(1500)
    const before = scraper.stats
    const cpu = process.cpuUsage()
    const start = performance.now()
    await delay(SECONDS * 1000)
    const { user, system } = process.cpuUsage(cpu)
    const elapsed = performance.now() - start
    const { good, failed, lastError } = scraper.stats
    const scrapes = good - before.good
    const share = scrapes / ((count * elapsed) / INTERVAL)
    const cores = (user + system) / 1000 / elapsed
    console.log(
      `${count} endpoints every ${INTERVAL} ms (${existsSync(FAKE) ? 'fakevllm' : 'own server'}): ${cores.toFixed(3)} core`,
    )
    console.log(
      `  ${((user + system) / scrapes).toFixed(0)} µs a scrape; ${(share * 100).toFixed(1)} % of the scrapes done, ${failed} failed`,
    )
    console.log(`  ${(cores / 0.25).toFixed(2)} × the goal of 0.25 core for 100 endpoints`)
    if (failed > 0) console.log(`  last error: ${lastError}`)
  } finally {
    scraper.stop()
    child.kill()
  }
}

if (process.argv[2] === 'serve') {
  await serve(Number(process.argv[3]))
} else {
  benchParser()
  await benchScraper(Number(process.argv[2] ?? 100))
}
