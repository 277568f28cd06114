import { afterEach, expect, it, jest } from '@jest/globals'
import { type ClientHttp2Session, connect, constants } from 'node:http2'
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { Plan } from '../pipeline/plan.ts'
import { createLog } from '../telemetry/log.ts'
import { waitFor } from '../../test/support/wait-for.ts'
import { Figure } from './thread-figures.ts'
import { Threads, type ThreadsOptions } from './threads.ts'

const WORKER: ThreadsOptions['worker'] = {
  transport: 'own',
  trust: 'all',
  tls: undefined,
  maxHeldBytes: 1_000_000,
  modeOverride: 'none',
  maxConnectionAgeMs: undefined,
  releaseBy: 'response',
  plugins: [],
}
const started: Threads[] = []

function make(options: Partial<ThreadsOptions> = {}): Threads {
  const threads = new Threads({
    count: 2,
    listen: { host: '127.0.0.1', port: 0 },
    ownAddresses: true,
    worker: WORKER,
    log: createLog('silent'),
    onLive: () => {},
    ...options,
  })
  started.push(threads)
  return threads
}

const plan = (version: string): Plan => ({
  version,
  routing: { modelHeader: 'x-m', baseModelHeader: 'x-b', baseModels: {} },
  entries: [],
  pools: [],
})

const inForce = (threads: Threads, version: string) => new Promise<void>(resolve => threads.run(plan(version), resolve))

/** The gRPC status of an ext_proc stream that names no entry. */
async function ask(port: number): Promise<string> {
  const session = connect(`http://127.0.0.1:${port}`)
  const stream = session.request({
    ':method': 'POST',
    ':path': '/envoy.service.ext_proc.v3.ExternalProcessor/Process',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  try {
    const [headers] = (await once(stream, 'response')) as [Record<string, string>]
    return headers['grpc-status'] ?? ''
  } finally {
    stream.close(constants.NGHTTP2_CANCEL)
    session.destroy()
  }
}

afterEach(async () => {
  await Promise.all(started.splice(0).map(threads => threads.drain(100)))
})

it.each(['node', 'own'] as const)(
  'every thread serves, a plan is in force when all have it, figures add up (%s)',
  async transport => {
    const threads = make({ worker: { ...WORKER, transport } })
    await threads.start()
    await inForce(threads, '1')
    expect(threads.threads.map(({ adopted }) => adopted)).toEqual([1, 1])
    const ports = threads.threads.map(({ listening }) => listening!.own!.port)
    for (const port of [...ports, ...ports, threads.port]) expect(await ask(port)).toBe('5')
    await threads.publish()
    expect(threads.figures.sum(Figure.STREAMS_TOTAL)).toBe(5)
    expect(threads.totals.refusedWith).toEqual(new Map([['unknown_entry', 5]]))
  },
)

it('a thread that dies comes back on its ports with the newest plan; what it counted stays counted', async () => {
  let live = 0
  const threads = make({ onLive: () => live++ })
  await threads.start()
  await inForce(threads, '1')
  const [victim] = threads.threads
  const { port } = victim!.listening!.own!
  await ask(port)
  await threads.publish()
  victim!.kill()
  await waitFor('its death', () => victim!.restarts === 1)
  expect(threads.isLive(victim!)).toBe(false)
  const before = live
  await inForce(threads, '2')
  await waitFor('its successor', () => threads.isLive(victim!))
  expect(live).toBeGreaterThan(before)
  expect(await ask(port)).toBe('5')
  await threads.publish()
  expect(threads.figures.get(victim!.column, Figure.STREAMS_TOTAL)).toBe(2)
  expect(threads.totals.refusedWith).toEqual(new Map([['unknown_entry', 2]]))
})

it('a port of another process is refused', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as { port: number }
  for (const count of [1, 2]) {
    const threads = make({ count, listen: { host: '127.0.0.1', port } })
    await expect(threads.start()).rejects.toThrow('EADDRINUSE')
  }
  other.close()
})

it('a plan that does not fit together is refused by all', async () => {
  const threads = make({ count: 1 })
  await threads.start()
  await inForce(threads, '1')
  const targets = [{ id: 't', weight: 1, cluster: 'c', pool: 'gone' }]
  const entry = { name: 'e', rules: [{ name: 'r', headers: [], query: [], targets }] }
  const bad = { ...plan('2'), entries: [entry] } as unknown as Plan
  expect(() => threads.run(bad, () => {})).toThrow('no pool gone')
  expect(threads.keeper.share()!.plan.version).toBe('1')
})

it('an overloaded thread has one of its connections come again, and tells that it did', async () => {
  const threads = make({ ownAddresses: false })
  await threads.start()
  await inForce(threads, '1')
  const sessions: ClientHttp2Session[] = []
  let goaways = 0
  try {
    // Until the kernel has given one of them two.
    const connections = (column: number) => threads.figures.get(column, Figure.SHARED_CONNECTIONS)
    const busy = await waitFor('a thread with two connections', () => {
      const session = connect(`http://127.0.0.1:${threads.port}`)
      session.on('error', () => {}).on('goaway', code => (goaways += code === constants.NGHTTP2_NO_ERROR ? 1 : 1000))
      sessions.push(session)
      return threads.threads.find(({ column }) => connections(column) >= 2)
    })
    const { figures } = threads
    const real = figures.get.bind(figures)
    jest
      .spyOn(figures, 'get')
      .mockImplementation((column, figure) =>
        figure === Figure.UTILISATION ? (column === busy.column ? 0.95 : 0.1) : real(column, figure),
      )
    await waitFor('a connection to be shed', () => threads.shed === 1, { timeoutMs: 25_000 })
    await waitFor('its client to be told', () => goaways > 0)
    await waitFor('it to end', () => sessions.some(({ destroyed }) => destroyed))
    expect(goaways).toBeLessThan(1000)
  } finally {
    jest.restoreAllMocks()
    for (const session of sessions) session.destroy()
  }
}, 60_000)

it('what a hung thread has waiting holds up nobody: the pools are told', async () => {
  const threads = make()
  await threads.start()
  await inForce(threads, '1')
  const hangs = jest.spyOn(threads.keeper, 'threadHangs')
  const [thread] = threads.threads
  thread!.setHung(true)
  expect(hangs.mock.calls).toEqual([[thread!.column]])
  expect(threads.isLive(thread!)).toBe(false)
  // A plan does not wait for it.
  await inForce(threads, '2')
  thread!.setHung(false)
  expect(hangs).toHaveBeenCalledTimes(1)
  await waitFor('it to serve again', () => threads.isLive(thread!))
})
