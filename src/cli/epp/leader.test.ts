import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { freePort } from '../../../test/support/free-ports.ts'
import { PickerClient } from '../../../test/support/picker-client.ts'
import { readMetrics } from '../../../test/support/read-metrics.ts'
import { makeTempFolder } from '../../../test/support/temp-folder.ts'
import { waitFor } from '../../../test/support/wait-for.ts'
import { collectionPath, PODS, RESOURCES } from '../../kubernetes/resources.ts'
import { FakeApiServer, rawPod, rawPool } from '../../kubernetes/testing.ts'
import { createLog } from '../../telemetry/log.ts'
import { Signalbox } from '../serve/signalbox.ts'
import { parseEppOptions } from './epp-options.ts'

const POD_PATH = collectionPath(PODS, undefined)
const POOLS = collectionPath(RESOURCES[0]!, undefined)
const LEASES = '/apis/coordination.k8s.io/v1/leases'
const LEASE = 'epp-default-llm.llm-d.ai'
const NAMES = ['', 'readiness', 'inference-extension', 'envoy.service.ext_proc.v3.ExternalProcessor']
/** Looks are frequent, and no pause of this process makes a leader give up. */
const PATIENT = ['30s', '20s', '100ms']
/** So that it gives up soon. */
const HASTY = ['2s', '1s', '100ms']

/** Somebody who listens: what refuses connections is no endpoint for long. */
let replica: Server
let port: number
beforeAll(async () => {
  replica = createServer((_request, response) => void response.writeHead(404).end())
  await once(replica.listen(0, '127.0.0.1'), 'listening')
  port = (replica.address() as AddressInfo).port
})
afterAll(async () => {
  const closed = once(replica, 'close')
  replica.close()
  replica.closeAllConnections()
  await closed
})

const cleanups: (() => unknown)[] = []
let server: FakeApiServer
let kubeconfig: string
beforeEach(async () => {
  server = new FakeApiServer(POD_PATH, LEASES, ...RESOURCES.map(resource => collectionPath(resource, undefined)))
  await server.start()
  cleanups.push(() => server.stop())
  server.put(POD_PATH, rawPod('a', '127.0.0.1', { app: 'llm' }))
  const folder = await makeTempFolder()
  cleanups.push(() => folder.remove())
  kubeconfig = join(folder.path, 'kubeconfig')
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 't', cluster: { server: server.access.server } }],
    users: [{ name: 't', user: { token: 'secret' } }],
    contexts: [{ name: 't', context: { cluster: 't', user: 't' } }],
    'current-context': 't',
  }
  await writeFile(kubeconfig, JSON.stringify(config))
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

class Replica {
  readonly name: string
  readonly signalbox: Signalbox
  readonly #lines: string[]
  readonly health: PickerClient
  readonly gateway: PickerClient

  private constructor(name: string, signalbox: Signalbox, lines: string[]) {
    this.name = name
    this.signalbox = signalbox
    this.#lines = lines
    this.health = new PickerClient(signalbox.healthAddress)
    this.gateway = new PickerClient(signalbox.extProcAddress)
    cleanups.push(() => [this.health.close(), this.gateway.close()])
  }

  static async start(name: string, times: readonly string[], ...more: readonly string[]): Promise<Replica> {
    const ports = ['--grpc-port=0', '--grpc-health-port=0', '--metrics-port=0', '--drain-timeout=0', '--threads=1']
    const election = ['lease-duration', 'renew-deadline', 'retry-period'].map(
      (time, i) => `--leader-elect-${time}=${times[i]}`,
    )
    const flags = [
      '--ha-enable-leader-election',
      ...election,
      '--secure-serving=false',
      '--metrics-endpoint-auth=false',
    ]
    const { serve } = parseEppOptions(
      ['--pool-name=llm', '--kubeconfig', kubeconfig, ...ports, ...flags, ...more],
      { POD_NAME: name },
      '127.0.0.1',
    )
    const lines: string[] = []
    const signalbox = new Signalbox(serve, createLog('info', { write: line => void lines.push(line) }))
    cleanups.push(() => signalbox.stop())
    await signalbox.start()
    return new Replica(name, signalbox, lines)
  }

  get log(): string {
    return this.#lines.join('')
  }

  async leads(): Promise<number | undefined> {
    return (await this.metrics()).get('signalbox_leader')
  }

  async metrics(): Promise<ReadonlyMap<string, number>> {
    return readMetrics(await this.get('/metrics'))
  }

  async get(path: string): Promise<string> {
    return await (await fetch(`http://${this.signalbox.adminAddress}${path}`)).text()
  }

  /** On the port of its own, and where gateways ask. */
  async becomes(status: 'SERVING' | 'NOT_SERVING'): Promise<void> {
    for (const client of [this.health, this.gateway])
      for (const name of NAMES)
        await waitFor(`${name} of ${this.name} to be ${status}`, async () => (await client.health(name)) === status, {
          timeoutMs: 30_000,
        })
    expect(await this.health.health('liveness')).toBe('SERVING')
    expect(await this.gateway.health('liveness')).toBe('SERVING')
  }
}

const holder = () => String((server.get(LEASES, LEASE)?.['spec'] as { holderIdentity?: string })?.holderIdentity)

describe('signalbox epp with leader election', () => {
  it('has one replica ready; the other is warm, and follows when that one ends', async () => {
    server.put(POOLS, rawPool('llm', { app: 'llm' }, [port]))
    const ports = [await freePort(), await freePort()]
    const peers = `--peers=${ports.map(port => `127.0.0.1:${port}`).join(',')}`
    const a = await Replica.start('a', PATIENT, peers, `--peer-listen=127.0.0.1:${ports[0]}`)
    await a.becomes('SERVING')
    expect(holder()).toMatch(/^a_/)
    const b = await Replica.start('b', PATIENT, peers, `--peer-listen=127.0.0.1:${ports[1]}`)
    await waitFor('b to know who leads', () => b.log.includes('another replica leads'))
    await b.becomes('NOT_SERVING')
    expect(await b.get('/readyz')).toBe('this replica does not lead\n')
    expect([await a.leads(), await b.leads()]).toEqual([1, 0])
    // Streams that come anyway, as from gateways that have not heard yet, are served.
    expect(await b.gateway.pick()).toEqual({ endpoints: `127.0.0.1:${port}` })
    // What the leader does, the other one hears.
    const figure = async (name: string) => (await b.metrics()).get(`signalbox_${name}{direction="heard"}`)
    await waitFor('the peers to meet', async () => (await figure('peers')) === 1)
    await a.gateway.pick({
      path: '/v1/completions',
      body: JSON.stringify({ model: 'm', prompt: 'long '.repeat(2000) }),
    })
    await waitFor('b to hear of the prompt', async () => (await figure('peer_prompts_total')) === 1)

    const stopped = a.signalbox.stop()
    await b.becomes('SERVING')
    await stopped
    expect(holder()).toMatch(/^b_/)
    expect(await b.leads()).toBe(1)
    expect(await b.gateway.pick()).toEqual({ endpoints: `127.0.0.1:${port}` })
    expect(a.log).toContain('this replica leads no longer')
    expect(b.log).toContain('"msg":"this replica leads"')
    await b.signalbox.stop()
    expect(holder()).toBe('')
  }, 120_000)

  it('nobody leads who has no pool to serve', async () => {
    const a = await Replica.start('a', PATIENT)
    await waitFor('a configuration without the pool', async () => (await a.get('/readyz')).includes('no InferencePool'))
    expect([await a.leads(), server.get(LEASES, LEASE)]).toEqual([0, undefined])
    server.put(POOLS, rawPool('llm', { app: 'llm' }, [port]))
    await a.becomes('SERVING')
    // Who leads still needs the pool.
    server.remove(POOLS, 'llm')
    await a.becomes('NOT_SERVING')
    expect(await a.leads()).toBe(1)
    expect(await a.get('/readyz')).toContain('no InferencePool')
  }, 120_000)

  it('leads no longer when the API server is away, serves what comes, and leads again', async () => {
    server.put(POOLS, rawPool('llm', { app: 'llm' }, [port]))
    const a = await Replica.start('a', HASTY)
    await a.becomes('SERVING')
    await server.stop()
    await a.becomes('NOT_SERVING')
    expect(await a.leads()).toBe(0)
    expect(await a.gateway.pick()).toEqual({ endpoints: `127.0.0.1:${port}` })
    await server.start()
    await a.becomes('SERVING')
    // A server that takes requests and never answers is away too.
    server.silent.add(LEASES)
    await a.becomes('NOT_SERVING')
    server.silent.clear()
    await a.becomes('SERVING')
  }, 120_000)

  it('is not ready without the rights, says so, and is as soon as it has them', async () => {
    server.refusals.set(LEASES, 403)
    server.put(POOLS, rawPool('llm', { app: 'llm' }, [port]))
    const a = await Replica.start('a', PATIENT)
    await waitFor('the log to tell', () => a.log.includes('no permission for the Lease'))
    await a.becomes('NOT_SERVING')
    expect(await a.get('/readyz')).toBe('this replica does not lead\n')
    server.refusals.delete(LEASES)
    await a.becomes('SERVING')
  }, 120_000)

  it('takes a Lease whose holder has gone, whatever its clock said, and leaves alone what else is in it', async () => {
    const spec = { holderIdentity: 'llm-d', leaseDurationSeconds: 1, renewTime: '2999-01-01T00:00:00.000000Z' }
    server.put(LEASES, { metadata: { name: LEASE, namespace: 'default', labels: { kept: 'yes' } }, spec })
    server.put(POOLS, rawPool('llm', { app: 'llm' }, [port]))
    const a = await Replica.start('a', PATIENT)
    await a.becomes('SERVING')
    expect(server.get(LEASES, LEASE)).toMatchObject({
      metadata: { labels: { kept: 'yes' } },
      spec: { leaseDurationSeconds: 30, leaseTransitions: 1 },
    })
  }, 120_000)

  it('is off unless it is asked for: no Lease, no metric', async () => {
    server.put(POOLS, rawPool('llm', { app: 'llm' }, [port]))
    const { serve } = parseEppOptions(
      [
        '--pool-name=llm',
        '--kubeconfig',
        kubeconfig,
        '--grpc-port=0',
        '--grpc-health-port=0',
        '--metrics-port=0',
        '--drain-timeout=0',
        '--threads=1',
        '--metrics-endpoint-auth=false',
      ],
      {},
      '127.0.0.1',
    )
    const signalbox = new Signalbox(serve, createLog('silent'))
    cleanups.push(() => signalbox.stop())
    await signalbox.start()
    const ready = async () => await (await fetch(`http://${signalbox.adminAddress}/readyz`)).text()
    await waitFor('readiness', async () => (await ready()) === 'ok\n')
    expect(await (await fetch(`http://${signalbox.adminAddress}/metrics`)).text()).not.toContain('signalbox_leader')
    expect(server.requests.filter(({ url }) => url.includes('coordination'))).toEqual([])
  }, 60_000)
})
