import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { credentials, makeClientConstructor } from '@grpc/grpc-js'
import { create, toBinary } from '@bufbuild/protobuf'
import { afterEach, describe, expect, it } from '@jest/globals'
import { waitFor } from '../../test/support/wait-for.ts'
import { ReportSchema } from '../gen/signalbox/peers/v1/peers_pb.ts'
import { selfSigned } from '../grpc/self-signed.ts'
import { ALONE } from '../inference/endpoint-slots.ts'
import { PickResult, Pool } from '../inference/pool.ts'
import { PoolKeeper } from '../inference/pool-keeper.ts'
import { hasherOf, poolPlan, request } from '../inference/testing.ts'
import { createLog } from '../telemetry/log.ts'
import { Peers, type PeersOptions } from './peers.ts'
import { peersService } from './peers-service.ts'

const ADDRESSES = ['10.0.0.1:8000', '10.0.0.2:8000', '10.0.0.3:8000']
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

/** A replica of Signalbox, as far as others see it. */
class Replica {
  readonly keeper = new PoolKeeper(poolPlan(ADDRESSES), { releaseBy: 'response', threads: 2, peers: true }, ALONE)
  readonly pool = new Pool(this.keeper.share(), { releaseBy: 'response', thread: 1, seed: 1 })
  readonly warnings: string[] = []
  readonly peers: Peers

  constructor(
    places: PeersOptions['places'],
    port: number,
    tls?: PeersOptions['tls'],
    times: Pick<PeersOptions, 'liveMs' | 'silentMs' | 'firstReportMs' | 'mostCalls'> = {},
  ) {
    this.peers = new Peers({
      places,
      listen: { host: '127.0.0.1', port },
      tls,
      ...times,
      pools: () => new Map([[this.keeper.plan.name, this.keeper]]),
      log: createLog('warn', { write: line => this.warnings.push(line) }),
    })
    cleanups.push(() => this.peers.stop())
  }

  pick(prompt = ''): PickResult {
    const result = new PickResult()
    const prefix = prompt === '' ? undefined : hasherOf(prompt)
    this.pool.pick(request({ prefix, promptBytes: prompt.length }), result)
    return result
  }

  release({ slots, generations }: PickResult): void {
    this.pool.inFlight.release(slots[0]!, generations[0]!)
  }

  get inFlight(): number {
    return this.keeper.snapshot().reduce((sum, { inFlight }) => sum + inFlight, 0)
  }

  address(result: PickResult): string {
    return this.pool.addressOf(result.slots[0]!)
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      return new Promise<Server>(resolve => {
        const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
      })
    }),
  )
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  for (const server of servers) server.close()
  return ports
}

async function replicas(count: number, tls?: PeersOptions['tls']): Promise<Replica[]> {
  const ports = await freePorts(count)
  const places = { kind: 'list', addresses: ports.map(port => `127.0.0.1:${port}`) } as const
  const made = ports.map(port => new Replica(places, port, tls))
  await Promise.all(made.map(({ peers }) => peers.start()))
  await connected(made)
  return made
}

/** Each hears all others, and none hears itself. */
async function connected(list: readonly Replica[]): Promise<void> {
  const others = list.length - 1
  await waitFor('replicas to meet', () =>
    list.every(({ peers: { connected: now } }) => now.hear === others && now.heard === others),
  )
}

describe('replicas', () => {
  it('know what the others have in flight, and what is over', async () => {
    const list = await replicas(3)
    const [first] = list as [Replica]
    const picks = Array.from({ length: 5 }, () => first.pick())
    list[1]!.pick()
    await waitFor('everybody to know', () => list.every(({ inFlight }) => inFlight === 6))
    for (const result of picks) first.release(result)
    await waitFor('everybody to know', () => list.every(({ inFlight }) => inFlight === 1))
  })

  it('tell all of it again every few seconds, so that what was lost heals', async () => {
    const [here, there] = (await replicas(2)) as [Replica, Replica]
    here.pick()
    here.pick()
    await waitFor('the other one to know', () => there.inFlight === 2)
    there.peers.inbox.forget(here.peers.replica)
    expect(there.inFlight).toBe(0)
    await waitFor('it to know again', () => there.inFlight === 2, { timeoutMs: 25_000 })
  })

  it('count a request that several endpoints take part in once', async () => {
    const list = await replicas(3)
    const [first] = list as [Replica]
    const result = first.pick()
    const table = first.keeper.table
    const other = result.slots[0] === 0 ? 1 : 0
    table.place(other)
    const requests = () => list.map(({ keeper }) => keeper.table.requests.count + keeper.table.requests.peers)
    await waitFor('everybody to know', () => list.every(({ inFlight }) => inFlight === 2))
    expect(requests()).toEqual([1, 1, 1])
    table.unplace(other, table.generation[other]!, 0)
    first.release(result)
    await waitFor(
      'everybody to know',
      () => requests().join('') === '000' && list.every(({ inFlight }) => inFlight === 0),
    )
  })

  it('send the same prompt to the same endpoint', async () => {
    const [here, there] = (await replicas(2)) as [Replica, Replica]
    const prompts = Array.from({ length: 12 }, (_, i) => String.fromCharCode(97 + i).repeat(2048))
    const placed = prompts.map(prompt => {
      const result = here.pick(prompt)
      here.release(result)
      return here.address(result)
    })
    await waitFor('the prompts', () => there.peers.inbox.prompts === prompts.length && there.inFlight === 0)
    for (const [i, prompt] of prompts.entries()) {
      const result = there.pick(prompt)
      expect(there.address(result)).toBe(placed[i])
      there.release(result)
    }
  })

  it('forget what one had in flight that goes, and learn from one that comes back what it has', async () => {
    const [here, there] = (await replicas(2)) as [Replica, Replica]
    there.pick()
    there.pick()
    await waitFor('both to know', () => here.inFlight === 2)
    const { port } = there.peers
    there.peers.stop()
    await waitFor('it to be forgotten', () => here.inFlight === 0)
    const places = { kind: 'list', addresses: [`127.0.0.1:${here.peers.port}`, `127.0.0.1:${port}`] } as const
    const again = new Replica(places, port)
    again.pick()
    await again.peers.start()
    await connected([here, again])
    await waitFor('its state', () => here.inFlight === 1)
  })

  it('are believed over TLS only with a certificate of the authority', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'signalbox-peers-'))
    cleanups.push(() => rm(folder, { recursive: true }))
    const files = async (name: string) => {
      const { cert, key } = selfSigned(['replica'])
      await writeFile(join(folder, `${name}.crt`), cert)
      await writeFile(join(folder, `${name}.key`), key)
      const certFile = join(folder, `${name}.crt`)
      return { certFile, keyFile: join(folder, `${name}.key`), caFile: certFile }
    }
    const [good, bad] = [await files('good'), await files('bad')]
    const [here, there] = (await replicas(2, good)) as [Replica, Replica]
    there.pick()
    await waitFor('both to know', () => here.inFlight === 1)
    const [port] = (await freePorts(1)) as [number]
    const places = { kind: 'list', addresses: [`127.0.0.1:${here.peers.port}`] } as const
    const stranger = new Replica(places, port, bad)
    const plain = new Replica(places, 0)
    stranger.pick()
    plain.pick()
    await Promise.all([stranger.peers.start(), plain.peers.start()])
    await new Promise(resolve => setTimeout(resolve, 500))
    expect([stranger.peers.connected.hear, plain.peers.connected.hear]).toEqual([0, 0])
    expect([here.peers.connected.heard, here.inFlight]).toEqual([1, 1])
  })

  it('need an address and files that can be used', async () => {
    const [{ peers }] = (await replicas(1)) as [Replica]
    const taken = new Replica({ kind: 'list', addresses: [] }, peers.port)
    await expect(taken.peers.start()).rejects.toThrow(/address already in use|EADDRINUSE|No address added/)
    const missing = { certFile: '/nowhere/a', keyFile: '/nowhere/b', caFile: '/nowhere/c' }
    const fileless = new Replica({ kind: 'list', addresses: [] }, 0, missing)
    await expect(fileless.peers.start()).rejects.toThrow(/ENOENT/)
  })

  it('tell once that a name cannot be looked up', async () => {
    const lost = new Replica({ kind: 'dns', name: 'nobody.invalid', port: 1 }, 0)
    await lost.peers.start()
    await waitFor('the warning', () => lost.warnings.length === 1)
    expect(lost.warnings[0]).toContain('other replicas cannot be looked up')
  })

  it('found by name are reached', async () => {
    const [port] = (await freePorts(1)) as [number]
    const here = new Replica({ kind: 'list', addresses: [] }, port)
    await here.peers.start()
    const there = new Replica({ kind: 'dns', name: 'localhost', port }, 0)
    there.pick()
    await there.peers.start()
    await waitFor('its state', () => here.inFlight === 1)
  })
})

describe('odd tellers', () => {
  const Client = makeClientConstructor(peersService, 'peers')
  const teller = (port: number) => {
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
    cleanups.push(() => client.close())
    const call = (
      client['tell'] as unknown as () => {
        write(bytes: Uint8Array): void
        on: (event: string, act: (value: never) => void) => void
        end(): void
      }
    ).call(client)
    const events: string[] = []
    call.on('error', () => events.push('error'))
    call.on('data', () => events.push('data'))
    call.on('end', () => events.push('end'))
    return { call, events }
  }
  const report = (init: Parameters<typeof create<typeof ReportSchema>>[1]) =>
    toBinary(ReportSchema, create(ReportSchema, init))

  it('without a name are refused, nonsense changes nothing, and other replicas go on', async () => {
    const [here] = (await replicas(1)) as [Replica]
    const nameless = teller(here.peers.port)
    nameless.call.write(report({ pools: [] }))
    await waitFor('the refusal', () => nameless.events.includes('error'))
    const garbage = teller(here.peers.port)
    garbage.call.write(Buffer.from('not a message at all'))
    await waitFor('the refusal', () => garbage.events.includes('error'))

    const odd = teller(here.peers.port)
    const endpoint = { address: ADDRESSES[0]!, decided: 3, released: 0, tokens: 0 }
    odd.call.write(
      report({
        replica: 'odd',
        pools: [
          { pool: 'nobody/has', endpoints: [endpoint] },
          {
            pool: 'default/pool',
            endpoints: [
              { ...endpoint, decided: 4_000_000_000 },
              { ...endpoint, address: '1.1.1.1:1' },
              { ...endpoint, tokens: 0xffffffff },
            ],
            prompts: [
              { address: '1.1.1.1:1', keys: [1, 2] },
              { address: ADDRESSES[0]!, keys: [5] },
              { address: ADDRESSES[0]!, keys: [] },
            ],
          },
        ],
      }),
    )
    await waitFor('the report', () => here.peers.inbox.reports === 1)
    expect(here.inFlight).toBe(0)
    odd.call.write(report({ pools: [{ pool: 'default/pool', endpoints: [endpoint] }] }))
    await waitFor('its requests', () => here.inFlight === 3)
    // A second call with the name of one that lives changes nothing, and is not told our name.
    const second = teller(here.peers.port)
    const again = { replica: 'odd', pools: [{ pool: 'default/pool', endpoints: [{ ...endpoint, decided: 1 }] }] }
    second.call.write(report(again))
    await waitFor('the refusal', () => second.events.includes('error'))
    expect([here.inFlight, second.events.includes('data')]).toEqual([3, false])
    odd.call.end()
    await waitFor('its end', () => here.inFlight === 0)
    const third = teller(here.peers.port)
    third.call.write(report(again))
    await waitFor('its requests', () => here.inFlight === 1)
    third.call.end()
    await waitFor('its end', () => here.inFlight === 0)
  })

  it('a second call takes the place of one that fell silent; calls that say nothing are ended', async () => {
    const here = new Replica({ kind: 'list', addresses: [] }, 0, undefined, { liveMs: 1, firstReportMs: 50 })
    await here.peers.start()
    const mute = teller(here.peers.port)
    await waitFor('the end', () => mute.events.includes('error'))
    const tell = (decided: number) =>
      report({
        replica: 'odd',
        pools: [{ pool: 'default/pool', endpoints: [{ address: ADDRESSES[0]!, decided, released: 0, tokens: 0 }] }],
      })
    const first = teller(here.peers.port)
    first.call.write(tell(3))
    await waitFor('its requests', () => here.inFlight === 3)
    await waitFor('another call to be taken', async () => {
      const second = teller(here.peers.port)
      second.call.write(tell(1))
      await waitFor('an answer', () => second.events.length > 0)
      return here.inFlight === 1
    })
    await waitFor('the end of the first', () => first.events.includes('error'))
    expect(here.inFlight).toBe(1)
  })

  it('one that is connected and tells nothing any more is gone; what it had counts no longer', async () => {
    const here = new Replica({ kind: 'list', addresses: [] }, 0, undefined, { silentMs: 4000 })
    await here.peers.start()
    const tell = (replica: string, decided: number) =>
      report({
        replica,
        pools: [{ pool: 'default/pool', endpoints: [{ address: ADDRESSES[0]!, decided, released: 0, tokens: 0 }] }],
      })
    const mute = teller(here.peers.port)
    const talker = teller(here.peers.port)
    mute.call.write(tell('mute', 3))
    talker.call.write(tell('talker', 2))
    const talking = setInterval(() => talker.call.write(report({})), 20)
    cleanups.push(() => clearInterval(talking))
    await waitFor('their requests', () => here.inFlight === 5)
    await waitFor('the mute one to be hung up on', () => mute.events.includes('error'), { timeoutMs: 30_000 })
    await waitFor('what it had to be forgotten', () => here.inFlight === 2)
    expect([here.peers.connected.heard, talker.events.includes('error')]).toEqual([1, false])
  }, 60_000)

  it('have a bounded number of calls', async () => {
    const here = new Replica({ kind: 'list', addresses: [] }, 0, undefined, { firstReportMs: 60_000, mostCalls: 2 })
    await here.peers.start()
    for (let i = 0; i < 4; i++) {
      const nameless = teller(here.peers.port)
      nameless.call.write(report({}))
      await waitFor('the refusal', () => nameless.events.includes('error'))
    }
    const all = [1, 2, 3].map(() => teller(here.peers.port))
    const refused = () => all.filter(({ events }) => events.includes('error'))
    await waitFor('a refusal', () => refused().length > 0)
    expect(refused().length).toBe(1)
    all.find(({ events }) => events.length === 0)!.call.end()
    await waitFor('room', async () => {
      const next = teller(here.peers.port)
      next.call.write(report({ replica: 'odd' }))
      await waitFor('an answer', () => next.events.length > 0)
      return next.events.includes('data')
    })
  })
})
