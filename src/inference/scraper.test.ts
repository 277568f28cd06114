import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import type { ScrapePlan } from './pool-plan.ts'
import { loadUserPlugins } from './scheduling/plugins/user-plugins.ts'
import { Scraper } from './scraper.ts'
import { LocalPool, poolPlan } from './testing.ts'

jest.setTimeout(60_000)

const PAGE = 'vllm:num_requests_waiting 2\nvllm:num_requests_running 3\n'
const MODELS = JSON.stringify({ data: [{ id: 'base' }, { id: 'sql', parent: 'base' }] })

/** Answers one request on the socket. */
type Answer = (socket: Socket, path: string, request: string) => void

function text(body: string, head = ''): string {
  return `HTTP/1.1 200 OK\r\n${head}content-length: ${body.length}\r\n\r\n${body}`
}

function answerAll(socket: Socket, path: string): void {
  socket.write(path === '/v1/models' ? text(MODELS) : text(PAGE))
}

function answerIdle(socket: Socket, path: string): void {
  socket.write(
    path === '/v1/models' ? text(MODELS) : text('vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n'),
  )
}

function pages({ requests }: FakeReplica): number {
  return requests.filter(request => request.startsWith('GET /metrics')).length
}

/** A server on raw sockets, so that it can misbehave. */
class FakeReplica {
  connections = 0
  readonly requests: string[] = []
  readonly sockets = new Set<Socket>()
  answer: Answer = answerAll
  port = 0
  #server: Server | undefined

  async listen(port = 0): Promise<void> {
    const server = createServer(socket => {
      this.connections++
      this.sockets.add(socket)
      socket.on('close', () => this.sockets.delete(socket))
      socket.on('error', () => undefined)
      let pending = ''
      socket.on('data', bytes => {
        pending += bytes.toString('latin1')
        for (let end = pending.indexOf('\r\n\r\n'); end >= 0; end = pending.indexOf('\r\n\r\n')) {
          const request = pending.slice(0, end)
          pending = pending.slice(end + 4)
          this.requests.push(request)
          this.answer(socket, request.split(' ')[1]!, request)
        }
      })
    })
    this.#server = server
    await new Promise<void>(resolve => server.listen(port, '0.0.0.0', resolve))
    this.port = (server.address() as { port: number }).port
  }

  async close(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise(resolve => server.close(resolve))
    for (const socket of this.sockets) socket.destroy()
    await closed
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }
}

const replicas: FakeReplica[] = []
const scrapers: Scraper[] = []

afterEach(async () => {
  for (const scraper of scrapers.splice(0)) scraper.stop()
  await Promise.all(replicas.splice(0).map(replica => replica.close()))
})

async function replica(answer: Answer = answerAll): Promise<FakeReplica> {
  const made = new FakeReplica()
  made.answer = answer
  replicas.push(made)
  await made.listen()
  return made
}

function start(targets: readonly FakeReplica[], scrape: Partial<ScrapePlan> = {}) {
  const changes = { intervalMs: 20, timeoutMs: 150, modelsIntervalMs: 60_000, ...scrape }
  const plan = poolPlan(
    targets.map(({ address }) => address),
    { scrape: changes },
  )
  const pool = new LocalPool(plan, { releaseBy: 'scrape' })
  const log: string[] = []
  const incomplete: string[] = []
  const scraper = new Scraper(pool, {
    onChange: (_address, error) => log.push(error ?? 'back'),
    onIncomplete: (_address, problem) => incomplete.push(problem),
  })
  scrapers.push(scraper)
  scraper.start()
  return { pool, scraper, plan, log, incomplete, first: () => pool.snapshot()[0]! }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 50_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('waited in vain')
    await delay(5)
  }
}

describe('Scraper', () => {
  it('reads metrics and models again and again over one connection', async () => {
    const fake = await replica()
    const { pool, scraper, first } = start([fake])
    await until(() => scraper.stats.good >= 5 && pool.allListed)
    expect(first()).toMatchObject({ waiting: 2, running: 3, state: 'ready' })
    expect(pool.models()).toEqual([{ id: 'base' }, { id: 'sql', parent: 'base' }])
    expect(fake.connections).toBe(1)
    expect(scraper.stats.failed).toBe(0)
    expect(fake.requests.filter(request => request.startsWith('GET /v1/models'))).toHaveLength(1)
    expect(fake.requests[0]).toContain(`host: ${fake.address}`)
    expect(fake.requests.some(request => /gzip|deflate|br\b/.test(request))).toBe(false)
  })

  it('takes answers that came in time, however long its thread stood still after that', async () => {
    const fake = await replica()
    const { scraper, log } = start([fake])
    await until(() => scraper.stats.good > 2)
    const still = new Int32Array(new SharedArrayBuffer(4))
    for (let time = 0; time < 3; time++) {
      const stalled = new Promise<void>(resolve => {
        fake.answer = (socket, path) => {
          fake.answer = answerAll
          answerAll(socket, path)
          // The answer is with the kernel.
          Atomics.wait(still, 0, 0, 600)
          resolve()
        }
      })
      await stalled
      const { good } = scraper.stats
      await until(() => scraper.stats.good > good + 2)
    }
    expect(scraper.stats.failed).toBe(0)
    expect(log).toEqual([])
  })

  it('asks many endpoints less often, so that the main thread keeps up; what it knows of them is as fresh as that', async () => {
    const fake = await replica()
    const port = fake.address.split(':')[1]
    // All of 127.0.0.0/8 is this machine.
    const many = Array.from(
      { length: 600 },
      (_, i) => ({ address: `127.0.${(i + 1) >> 8}.${(i + 1) & 255}:${port}` }) as FakeReplica,
    )
    const { pool, scraper } = start(many, { timeoutMs: 20_000, models: false })
    expect(scraper.intervalMs).toBeCloseTo(120)
    await until(() => pool.snapshot().every(({ scrapedAt }) => scrapedAt > 0))
    expect(scraper.stats.failed).toBe(0)
    expect(pool.table.slack[0]).toBeCloseTo(100)
    const few = start([fake])
    await until(() => few.first().scrapedAt > 0)
    expect(few.scraper.intervalMs).toBe(20)
    expect(few.pool.table.slack[0]).toBe(0)
  })

  it('reads a chunked page in single bytes', async () => {
    const whole = `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${PAGE.length.toString(16)}\r\n${PAGE}\r\n0\r\n\r\n`
    const fake = await replica((socket, path) => {
      const reply = path === '/v1/models' ? text(MODELS) : whole
      void (async () => {
        for (const byte of reply) {
          socket.write(byte)
          await new Promise(setImmediate)
        }
      })()
    })
    const { scraper, first } = start([fake], { timeoutMs: 3000 })
    await until(() => scraper.stats.good >= 2)
    expect(first()).toMatchObject({ waiting: 2, running: 3 })
    expect(scraper.stats.failed).toBe(0)
  })

  it('opens a connection anew where the server closes each', async () => {
    const fake = await replica(socket => socket.end(`HTTP/1.0 200 OK\r\n\r\n${PAGE}`))
    const { scraper } = start([fake])
    await until(() => scraper.stats.good >= 4)
    expect(fake.connections).toBeGreaterThanOrEqual(4)
    expect(scraper.stats.failed).toBe(0)
  })

  it('survives that an idle connection is closed, without a failure', async () => {
    const fake = await replica()
    const { scraper } = start([fake], { intervalMs: 60 })
    await until(() => scraper.stats.good >= 1)
    for (const socket of fake.sockets) socket.end()
    const { good } = scraper.stats
    await until(() => scraper.stats.good >= good + 2)
    expect(scraper.stats.failed).toBe(0)
  })

  it.each<[string, Answer]>([
    ['an error', socket => socket.write('HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n')],
    [
      'a redirect',
      socket => socket.write('HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n'),
    ],
    ['another page', socket => socket.write(text('<html>'))],
    ['gzip', socket => socket.write(text('xxxx', 'content-encoding: gzip\r\n'))],
    ['nonsense', socket => socket.write('SSH-2.0-x\r\n\r\n')],
    ['a huge page', socket => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 99000000\r\n\r\n')],
    ['an endless page', socket => socket.write(`HTTP/1.1 200 OK\r\n\r\n${'x\n'.repeat(2_500_000)}`)],
  ])('takes %s for no metrics, but keeps the endpoint', async (_name, answer) => {
    const fake = await replica(answer)
    const { pool, scraper, first, log } = start([fake])
    await until(() => scraper.stats.failed >= 4)
    expect(first()).toMatchObject({ state: 'ready', scrapedAt: 0 })
    expect(pool.allListed).toBe(false)
    expect(log).toHaveLength(1)
    fake.answer = answerAll
    await until(() => scraper.stats.good >= 1)
    expect(log[1]).toBe('back')
  })

  it.each<[string, Answer]>([
    ['never answers', () => undefined],
    ['drips', socket => void setInterval(() => socket.write('x'), 20).unref()],
  ])('takes a server that %s for busy, not for dead', async (_name, answer) => {
    const fake = await replica()
    const { scraper, first } = start([fake], { timeoutMs: 40 })
    await until(() => scraper.stats.good >= 1)
    fake.answer = answer
    await until(() => scraper.stats.failed >= 5)
    const { scrapedAt, state } = first()
    expect(state).toBe('ready')
    fake.answer = answerAll
    await until(() => first().scrapedAt > scrapedAt)
  })

  it.each([
    ['answer no scrape', {}],
    ['are not scraped', { off: true as const }],
  ])('has counts fade of endpoints that %s', async (_, scrape) => {
    const fake = await replica(socket => socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n'))
    const { pool, first } = start([fake], scrape)
    pool.table.decide(0)
    expect(first().inFlight).toBe(1)
    await until(() => first().inFlight === 0)
  })

  it('finds a server unreachable that worked once and then hangs up', async () => {
    const fake = await replica()
    const { scraper, first } = start([fake])
    await until(() => scraper.stats.good >= 1)
    fake.answer = socket => socket.destroy()
    await until(() => first().state === 'unreachable')
    expect(scraper.stats.failed).toBeGreaterThanOrEqual(3)
    fake.answer = answerAll
    await until(() => first().state === 'ready')
  })

  it('finds a killed server out at once, and again when it is back, with its new models', async () => {
    const fake = await replica()
    const { pool, first } = start([fake])
    await until(() => pool.allListed)
    await fake.close()
    await until(() => first().state === 'unreachable')
    fake.answer = (socket, path) => socket.write(path === '/v1/models' ? text('{"data":[{"id":"new"}]}') : text(PAGE))
    await fake.listen(fake.port)
    await until(() => first().state === 'ready' && pool.knows('new'))
    expect(pool.knows('base')).toBe(false)
  })

  it('lets a dead endpoint delay no other', async () => {
    const dead = await replica(() => undefined)
    const live = await replica()
    const { scraper } = start([dead, live], { timeoutMs: 2000 })
    await until(() => scraper.stats.good >= 20)
    expect(dead.requests).toHaveLength(1)
  })

  it('has no two requests to an endpoint under way', async () => {
    let open = 0
    let most = 0
    const fake = await replica((socket, path) => {
      most = Math.max(most, ++open)
      setTimeout(() => {
        open--
        answerAll(socket, path)
      }, 50)
    })
    const { scraper } = start([fake], { intervalMs: 10 })
    await until(() => scraper.stats.good >= 4)
    expect(most).toBe(1)
  })

  it('follows the pool', async () => {
    const [a, b] = [await replica(), await replica()]
    const { pool, plan, scraper } = start([a])
    await until(() => a.requests.length >= 2)
    pool.update({ ...plan, endpoints: [{ address: b.address, labels: {} }] })
    scraper.update()
    await until(() => b.requests.length >= 2 && a.sockets.size === 0)
    const seen = a.requests.length
    await until(() => b.requests.length >= 6)
    expect(a.requests).toHaveLength(seen)
    expect(pool.snapshot()).toMatchObject([{ address: b.address, waiting: 2 }])
  })

  it('reads the models again on demand, but not all the time', async () => {
    let list = MODELS
    const fake = await replica((socket, path) => socket.write(path === '/v1/models' ? text(list) : text(PAGE)))
    const { pool, scraper } = start([fake])
    await until(() => pool.allListed)
    list = '{"data":[{"id":"late"}]}'
    const asked = () => fake.requests.filter(request => request.startsWith('GET /v1/models')).length
    for (let i = 0; i < 5; i++) pool.relist()
    const { good } = scraper.stats
    await until(() => scraper.stats.good >= good + 3)
    expect(asked()).toBe(1)
    await until(() => {
      pool.relist()
      return pool.knows('late')
    })
    expect(asked()).toBe(2)
  })

  it('leaves nothing behind when it stops', async () => {
    const fake = await replica()
    const { scraper } = start([fake])
    await until(() => scraper.stats.good >= 1)
    scraper.stop()
    await until(() => fake.sockets.size === 0)
    const seen = fake.requests.length
    await delay(80)
    expect(fake.requests).toHaveLength(seen)
    scraper.update()
    scraper.start()
    await until(() => fake.requests.length > seen)
  })

  it('asks a replica that does nothing less and less often, and one with load as often as ever', async () => {
    const idle = await replica(answerIdle)
    const busy = await replica()
    const { scraper } = start([idle, busy], { idleIntervalMs: 10_000 })
    await until(() => pages(busy) >= 60)
    // 20, 40, 80, 160, … ms: at most 8 of what are 60 turns of the other, or twice that.
    expect(pages(idle)).toBeLessThan(pages(busy) / 3)
    expect(scraper.stats.failed).toBe(0)
  })

  it('counts the age of what it knows from when a resting replica is due', async () => {
    const idle = await replica(answerIdle)
    const { pool } = start([idle], { idleIntervalMs: 60_000 })
    await until(() => pool.table.slack[0]! > 500)
    expect(pool.table.age(0, pool.table.scrapedAt[0]! + 500)).toBe(0)
  })

  it('asks a resting replica as soon as something is sent to it', async () => {
    const idle = await replica(answerIdle)
    const { pool } = start([idle], { idleIntervalMs: 60_000 })
    await until(() => pool.table.slack[0]! > 5000)
    const before = pages(idle)
    pool.table.decide(0)
    idle.answer = answerAll
    await until(() => pages(idle) > before && pool.table.slack[0] === 0)
    // Busy now: as often as ever.
    await until(() => pages(idle) > before + 5)
  })

  it('asks all that rest once when the pool becomes active', async () => {
    const [first, second] = [await replica(answerIdle), await replica(answerIdle)]
    const { pool } = start([first, second], { idleIntervalMs: 60_000 })
    await until(() => pool.table.slack[0]! > 2000 && pool.table.slack[1]! > 2000)
    const other = pool.table.slotOf(second.address)!
    const before = pool.table.scrapedAt[other]!
    pool.table.decide(pool.table.slotOf(first.address)!)
    await until(() => pool.table.scrapedAt[other]! > before)
    expect(pool.table.slack[other]).toBeLessThan(2000)
  })

  it('finds a resting replica dead when its connection ends', async () => {
    const idle = await replica(answerIdle)
    const { pool, first } = start([idle], { idleIntervalMs: 600_000 })
    await until(() => pool.table.slack[0]! > 2000)
    await idle.close()
    await until(() => first().state === 'unreachable')
  })

  it('reads models soon on demand from one that rests', async () => {
    let list = MODELS
    const idle = await replica((socket, path) =>
      path === '/v1/models' ? socket.write(text(list)) : answerIdle(socket, path),
    )
    const { pool } = start([idle], { idleIntervalMs: 600_000 })
    await until(() => pool.allListed && pool.table.slack[0]! > 3000)
    list = '{"data":[{"id":"late"}]}'
    pool.relist()
    await until(() => pool.knows('late'))
  })

  it('reads each replica as its engine, by label, and follows the label', async () => {
    const both = await replica((socket, path) =>
      socket.write(path === '/v1/models' ? text(MODELS) : text(`${PAGE}sglang:num_queue_reqs 20\n`)),
    )
    const { pool, plan, scraper, first } = start([both])
    await until(() => first().waiting === 2)
    const labels = { 'llm-d.ai/engine-type': 'sglang' }
    pool.update({ ...plan, endpoints: [{ address: both.address, labels }] })
    scraper.update()
    await until(() => first().waiting === 20)
  })

  it('reads metrics at another port and path, and models at the endpoint itself', async () => {
    const endpoint = await replica((socket, path) =>
      socket.write(path === '/v1/models' ? text(MODELS) : text('nothing')),
    )
    const side = await replica((socket, path) =>
      socket.write(path === '/stats' ? text(PAGE) : 'HTTP/1.1 404 No\r\n\r\n'),
    )
    const { pool, first, scraper } = start([endpoint], { port: side.port, path: '/stats' })
    await until(() => first().waiting === 2 && pool.allListed)
    expect(scraper.stats.failed).toBe(0)
    expect(endpoint.requests.every(request => request.startsWith('GET /v1/models'))).toBe(true)
  })

  it('reads no models where nobody asks for them', async () => {
    const fake = await replica()
    const { scraper } = start([fake], { models: false })
    await until(() => scraper.stats.good >= 5)
    expect(fake.requests.some(request => request.startsWith('GET /v1/models'))).toBe(false)
  })

  it('reads custom metrics and exporters as attributes, which are unknown once they are too old', async () => {
    const spec = (name: string) => ({ name, labels: {} })
    const engines = {
      labelKeys: [],
      default: 'mine',
      engines: [{ name: 'mine', waiting: spec('w'), custom: [{ attribute: 'heat', spec: spec('heat') }] }],
    }
    const fake = await replica(socket => socket.write(text('w 1\nheat 40\n')))
    const gpu = await replica(socket => socket.write(text('util{gpu="0"} 30\nutil{gpu="1"} 80\n')))
    const exporter = {
      scheme: 'http' as const,
      port: gpu.port,
      path: '/metrics',
      intervalMs: 20,
      metrics: [{ attribute: 'gpu', spec: spec('util'), scale: 0.01, of: 'max' as const }],
    }
    const { pool } = start([fake], { engines, exporters: [exporter], attributes: ['gpu', 'heat'], staleMs: 100 })
    const { table } = pool
    const [gpuIndex, heat] = [table.attributeIndex('gpu'), table.attributeIndex('heat')]
    await until(() => table.attribute(0, gpuIndex) === 0.8 && table.attribute(0, heat) === 40)
    expect(table.attribute(0, table.attributeIndex('other'))).toBeNaN()
    gpu.answer = socket => socket.write('HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n')
    fake.answer = gpu.answer
    await until(() => Number.isNaN(table.attribute(0, heat)))
    await until(() => Number.isNaN(table.attribute(0, gpuIndex)))
  })

  it("has pages read by a user's own data source, which are unknown while it fails", async () => {
    const module = join(import.meta.dirname, '..', '..', 'examples', 'plug-ins', 'all-roles.ts')
    await loadUserPlugins([module])
    const fake = await replica(socket => socket.write(text('vllm:num_requests_waiting 1\n')))
    const page = await replica(socket => socket.write(text('{"celsius":71.5}')))
    const exporter = {
      scheme: 'http' as const,
      port: page.port,
      path: '/temperature',
      intervalMs: 10,
      metrics: [{ attribute: 'temperature', spec: { name: 'temperature', labels: {} } }],
      own: { type: 'temperature-source', parameters: {} },
    }
    const { pool } = start([fake], { exporters: [exporter], attributes: ['other', 'temperature'] })
    const { table } = pool
    const temperature = table.attributeIndex('temperature')
    await until(() => table.attribute(0, temperature) === 71.5)
    expect(page.requests[0]).toContain('GET /temperature ')
    page.answer = socket => socket.write(text('no JSON'))
    await until(() => Number.isNaN(table.attribute(0, temperature)))
    page.answer = socket => socket.write(text('{"celsius":20}'))
    await until(() => table.attribute(0, temperature) === 20)
  })

  it('says what a page lacks and what makes no sense, once', async () => {
    const fake = await replica(socket =>
      socket.write(text('vllm:num_requests_waiting NaN\nvllm:num_requests_running 1\n')),
    )
    const { scraper, incomplete } = start([fake])
    await until(() => scraper.stats.good >= 4)
    expect(incomplete).toHaveLength(1)
    expect(incomplete[0]).toContain('no waiting, kv-cache-usage')
    expect(incomplete[0]).toContain('makes no sense of waiting')
    const { missing, invalid, good } = scraper.stats
    expect(missing.get('waiting')).toBe(good)
    expect(invalid.get('waiting')).toBe(good)
    expect(missing.has('running')).toBe(false)
  })

  it('has another plan read another way', async () => {
    const fake = await replica((socket, path) => socket.write(text(path === '/other' ? 'w 9\n' : PAGE)))
    const { pool, plan, scraper, first } = start([fake])
    await until(() => first().waiting === 2)
    const engines = { labelKeys: [], default: 'x', engines: [{ name: 'x', waiting: { name: 'w', labels: {} } }] }
    pool.update({ ...plan, scrape: { ...plan.scrape, path: '/other', engines } })
    scraper.update()
    await until(() => first().waiting === 9)
  })
})
