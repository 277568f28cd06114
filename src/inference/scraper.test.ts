import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import type { ScrapePlan } from './pool-plan.ts'
import { Scraper } from './scraper.ts'
import { LocalPool, poolPlan } from './testing.ts'

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
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
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
  const scraper = new Scraper(pool, { onChange: (_address, error) => log.push(error ?? 'back') })
  scrapers.push(scraper)
  scraper.start()
  return { pool, scraper, plan, log, first: () => pool.snapshot()[0]! }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 8000
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
})
