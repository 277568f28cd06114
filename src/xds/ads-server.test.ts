import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import {
  type ClientDuplexStream,
  credentials,
  logVerbosity,
  makeClientConstructor,
  setLogVerbosity,
  status,
} from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from '@jest/globals'
import type { EnvoyResources } from '../config/envoy-resources.ts'
import {
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
} from '../gen/envoy/service/discovery/v3/discovery_pb.ts'
import { StreamAccessLogsMessageSchema } from '../gen/envoy/service/accesslog/v3/als_pb.ts'
import type { AccessLogEntry } from './access-log-reader.ts'
import { selfSigned } from '../grpc/self-signed.ts'
import type { TlsOptions } from '../grpc/tls.ts'
import type { FailedHandshake } from './failed-handshakes.ts'
import { AdsServer, type AdsServerOptions } from './ads-server.ts'
import { accessLogService, aggregatedDiscoveryService } from './services.ts'
import { SnapshotCache } from './snapshot-cache.ts'
import { TypeUrl } from './type-urls.ts'

const resources: EnvoyResources = {
  clusters: [{ name: 'a' }],
  endpoints: [],
  listeners: [],
  routes: [],
  secrets: [],
  others: [],
}
const AdsClient = makeClientConstructor(aggregatedDiscoveryService, 'ads')
const AccessLogClient = makeClientConstructor(accessLogService, 'als')

/** What a stream brought, in order, for a test to await. */
class Connection {
  readonly #call: ClientDuplexStream<DiscoveryRequest, DiscoveryResponse>
  readonly #seen: (DiscoveryResponse | { code: number; details: string })[] = []
  #wake: () => void = () => undefined

  constructor(target: string, channel = credentials.createInsecure()) {
    const client = new AdsClient(target, channel)
    closers.push(() => client.close())
    this.#call = (
      client['streamAggregatedResources'] as () => ClientDuplexStream<DiscoveryRequest, DiscoveryResponse>
    ).call(client)
    const add = (item: DiscoveryResponse | { code: number; details: string }) => {
      this.#seen.push(item)
      this.#wake()
    }
    this.#call.on('data', add)
    this.#call.on('error', add)
  }
  asks(request: MessageInitShape<typeof DiscoveryRequestSchema>): void {
    this.#call.write(create(DiscoveryRequestSchema, request))
  }
  async next(): Promise<DiscoveryResponse | { code: number; details: string }> {
    while (this.#seen.length === 0) await new Promise<void>(resolve => (this.#wake = resolve))
    return this.#seen.shift()!
  }
  async response(): Promise<DiscoveryResponse> {
    const item = await this.next()
    if (!('versionInfo' in item)) throw new Error(`the stream ended: ${item.details}`)
    return item
  }
  /** Things that came and were not awaited. */
  get waiting(): number {
    return this.#seen.length
  }
  ends(): void {
    this.#call.end()
  }
}

// grpc-js writes to the console what `listen` rejects with.
setLogVerbosity(logVerbosity.NONE)

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function start(
  options: Partial<AdsServerOptions> = {},
): Promise<{ server: AdsServer; cache: SnapshotCache; target: string }> {
  const cache = new SnapshotCache()
  cache.set(resources)
  const server = new AdsServer({ cache, listen: { address: '127.0.0.1:0' }, ...options })
  closers.push(() => server.close())
  return { server, cache, target: `127.0.0.1:${await server.listen()}` }
}

/** A certificate for the loopback, in files that go with the test. */
async function certificateFiles(): Promise<{ certFile: string; keyFile: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-ads-'))
  closers.push(async () => rmSync(folder, { recursive: true }))
  const [certFile, keyFile] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  const { cert, key } = selfSigned(['localhost', '127.0.0.1'])
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key)
  return { certFile, keyFile }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}

const node = {
  id: 'n1',
  cluster: 'c1',
  userAgentName: 'envoy',
  userAgentVersionType: { case: 'userAgentBuildVersion', value: { version: { majorNumber: 1, minorNumber: 40 } } },
} as const

describe('AdsServer', () => {
  const clientOf = (target: string, id: string, minorNumber: number) => {
    const client = new Connection(target)
    const version = { majorNumber: 1, minorNumber, patch: 2 }
    const userAgentVersionType = { case: 'userAgentBuildVersion', value: { version } } as const
    client.asks({ typeUrl: TypeUrl.ROUTE, resourceNames: ['r'], node: { ...node, id, userAgentVersionType } })
    return client
  }

  it('gives older clients what they know', async () => {
    const { cache, target } = await start()
    const directResponse = { status: 404, bodyFormat: { textFormatSource: { inlineString: 'no' } } }
    const routes = [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, directResponse }] }]
    cache.set({ ...resources, routes: [{ name: 'r', virtualHosts: routes }] })
    const [old, current, sameAge] = [clientOf(target, 'a', 36), clientOf(target, 'b', 38), clientOf(target, 'c', 36)]
    const answer = await old.response()
    expect(Buffer.from(answer.resources[0]!.value).includes('content-type')).toBe(true)
    expect(Buffer.from((await current.response()).resources[0]!.value).includes('content-type')).toBe(false)
    expect((await sameAge.response()).versionInfo).toBe(answer.versionInfo)

    // A change reaches each in its own form, and what is the same is not sent again.
    old.asks({ typeUrl: TypeUrl.ROUTE, resourceNames: ['r'], responseNonce: answer.nonce })
    cache.set({ ...resources, clusters: [{ name: 'b' }], routes: [{ name: 'r', virtualHosts: routes }] })
    cache.set({ ...resources, routes: [{ name: 'r', virtualHosts: [{ ...routes[0]!, name: 'w' }] }] })
    const next = await old.response()
    expect(next.nonce).toBe('2')
    expect(Buffer.from(next.resources[0]!.value).includes('content-type')).toBe(true)
  })

  it('sends nothing to a client that is too old, and says so once', async () => {
    const events: unknown[] = []
    const { server, cache, target } = await start({ onTooOld: event => events.push(event) })
    const client = clientOf(target, 'old', 35)
    client.asks({ typeUrl: TypeUrl.CLUSTER })
    const other = new Connection(target)
    other.asks({ typeUrl: TypeUrl.CLUSTER, node })
    const { nonce } = await other.response()
    other.asks({ typeUrl: TypeUrl.CLUSTER, responseNonce: nonce })
    cache.set({ ...resources, clusters: [{ name: 'b' }] })
    await other.response()
    await until(() => server.status().length === 2)
    const reason = expect.stringContaining('1.36.0 is the oldest') as unknown
    expect(server.status().find(({ nodeId }) => nodeId === 'old')).toMatchObject({
      userAgent: 'envoy 1.35.2',
      tooOld: reason,
      types: [],
    })
    expect(events).toEqual([{ nodeId: 'old', userAgent: 'envoy 1.35.2', reason }])
    expect(client.waiting).toBe(0)
  })

  it('serves a client, keeps its judgements and forgets it', async () => {
    const events: unknown[] = []
    const { server, cache, target } = await start({
      onAck: event => events.push(event),
      onNack: event => events.push(event),
    })
    const client = new Connection(target)
    client.asks({ typeUrl: TypeUrl.CLUSTER, node })
    const one = await client.response()
    expect(one.resources).toHaveLength(1)
    client.asks({ typeUrl: TypeUrl.CLUSTER, responseNonce: one.nonce, versionInfo: one.versionInfo })
    await until(() => events.length === 1)
    expect(events).toEqual([{ nodeId: 'n1', typeUrl: TypeUrl.CLUSTER, version: one.versionInfo }])

    expect(server.status()[0]?.types[0]?.synced).toBe(true)
    cache.set({ ...resources, clusters: [{ name: 'a' }, { name: 'b' }] })
    expect(server.status()[0]?.types[0]?.synced).toBe(false)
    const two = await client.response()
    client.asks({
      typeUrl: TypeUrl.CLUSTER,
      responseNonce: two.nonce,
      versionInfo: one.versionInfo,
      errorDetail: { code: 13, message: 'no b' },
    })
    await until(() => events.length === 2)
    expect(events[1]).toEqual({ nodeId: 'n1', typeUrl: TypeUrl.CLUSTER, version: two.versionInfo, message: 'no b' })
    expect(server.status()).toMatchObject([
      {
        nodeId: 'n1',
        nodeCluster: 'c1',
        userAgent: 'envoy 1.40.0',
        types: [
          {
            typeUrl: TypeUrl.CLUSTER,
            wanted: '*',
            resources: 2,
            sentVersion: two.versionInfo,
            ackedVersion: one.versionInfo,
            synced: false,
            refusal: { version: two.versionInfo, message: 'no b' },
          },
        ],
      },
    ])
    client.ends()
    await until(() => server.status().length === 0)
  })

  it.each([
    ['no node', { typeUrl: TypeUrl.CLUSTER }, 'the first request needs node.id'],
    ['no type', { node }, 'an aggregated stream needs type_url in every request'],
  ])('ends a stream with %s', async (_, request, details) => {
    const { server, target } = await start()
    const client = new Connection(target)
    client.asks(request)
    expect(await client.next()).toMatchObject({ code: status.INVALID_ARGUMENT, details })
    expect(server.status()).toEqual([])
  })

  it('ends streams with UNAVAILABLE when it closes, and frees the port', async () => {
    const { server, target } = await start()
    const client = new Connection(target)
    client.asks({ typeUrl: TypeUrl.CLUSTER, node })
    await client.response()
    const end = client.next()
    await server.close()
    expect(await end).toMatchObject({ code: status.UNAVAILABLE })
    const again = new AdsServer({ cache: new SnapshotCache(), listen: { address: target } })
    closers.push(() => again.close())
    await again.listen()
  })

  it('listens on a socket, also over one that a dead process left, and on nothing else', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'signalbox-xds-'))
    closers.push(() => rmSync(folder, { recursive: true }))
    const pipe = join(folder, 'ads.sock')
    // Renamed, so that closing does not remove it: the file is what a killed process leaves.
    const dead = createServer()
    await new Promise<void>(resolve => dead.listen(`${pipe}.before`, resolve))
    renameSync(`${pipe}.before`, pipe)
    await new Promise(resolve => dead.close(resolve))
    await start({ listen: { pipe } })
    expect(statSync(pipe).isSocket()).toBe(true)
    const client = new Connection(`unix:${pipe}`)
    client.asks({ typeUrl: TypeUrl.CLUSTER, node })
    expect((await client.response()).resources).toHaveLength(1)
    await expect(start({ listen: { pipe } })).rejects.toThrow('another process listens')
    await expect(start({ listen: { pipe: folder } })).rejects.toThrow('is not a socket')
  })

  it('speaks TLS, and wants a certificate where it has an authority for them', async () => {
    const files = await certificateFiles()
    const tls: TlsOptions = { certificate: { kind: 'files', ...files }, reloadMs: 20 }
    const channel = () => credentials.createSsl(readFileSync(files.certFile))
    const failed: FailedHandshake[] = []
    const codes = () => failed.map(({ error }) => (error as NodeJS.ErrnoException).code)
    const open = await start({ tls, onFailedHandshake: each => failed.push(each) })
    const client = new Connection(open.target, channel())
    client.asks({ typeUrl: TypeUrl.CLUSTER, node })
    expect((await client.response()).resources).toHaveLength(1)

    expect(failed).toEqual([])
    // One that speaks plaintext is heard of.
    const plain = new Connection(open.target)
    plain.asks({ typeUrl: TypeUrl.CLUSTER, node })
    await until(() => failed.length > 0)
    expect([codes()[0], failed[0]!.peer]).toEqual(['ERR_SSL_WRONG_VERSION_NUMBER', '127.0.0.1'])

    failed.length = 0
    const mutual = await start({
      tls: { ...tls, clientCaFile: files.certFile },
      onFailedHandshake: each => failed.push(each),
    })
    const stranger = new Connection(mutual.target, channel())
    stranger.asks({ typeUrl: TypeUrl.CLUSTER, node })
    expect(await stranger.next()).toMatchObject({ code: status.UNAVAILABLE })
    await until(() => codes().includes('ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'))
    expect(mutual.server.status()).toEqual([])
    await mutual.server.close()
  })

  it('takes a changed certificate, and keeps the last one that can be used', async () => {
    const files = await certificateFiles()
    const errors: unknown[] = []
    const { target } = await start({
      tls: { certificate: { kind: 'files', ...files }, reloadMs: 10 },
      onTlsError: error => errors.push(error),
    })
    const speaks = async (ca: string) => {
      const client = new Connection(target, credentials.createSsl(Buffer.from(ca)))
      client.asks({ typeUrl: TypeUrl.CLUSTER, node })
      const answer = await client.next()
      client.ends()
      return 'versionInfo' in answer
    }
    const first = readFileSync(files.certFile, 'utf8')
    expect(await speaks(first)).toBe(true)
    const next = selfSigned(['localhost', '127.0.0.1'])
    writeFileSync(files.keyFile, next.key)
    writeFileSync(files.certFile, next.cert)
    while (!(await speaks(next.cert))) await new Promise(resolve => setTimeout(resolve, 20))
    writeFileSync(files.certFile, 'nonsense')
    await until(() => errors.length > 0 && String(errors.at(-1)) !== '')
    expect(await speaks(next.cert)).toBe(true)
  })

  it('rejects an address that is taken', async () => {
    const other = createServer()
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve))
    closers.push(() => new Promise(resolve => other.close(resolve)))
    const { port } = other.address() as { port: number }
    await expect(start({ listen: { address: `127.0.0.1:${port}` } })).rejects.toMatchObject({
      code: 'EADDRINUSE',
      port,
    })
  })

  it('receives access logs, and refuses what is none', async () => {
    const entries: AccessLogEntry[] = []
    const { target } = await start({ onAccessLog: entry => entries.push(entry) })
    const client = new AccessLogClient(target, credentials.createInsecure())
    closers.push(() => client.close())
    const send = (bytes: Uint8Array) =>
      new Promise<number>(resolve => {
        const open = client['streamAccessLogs'] as (
          done: (error: { code: number } | null) => void,
        ) => ClientDuplexStream<Uint8Array, Uint8Array>
        const call = open.call(client, error => resolve(error?.code ?? status.OK))
        call.write(bytes)
        call.end()
      })
    const log = create(StreamAccessLogsMessageSchema, {
      logEntries: {
        case: 'httpLogs',
        value: { logEntry: [{ commonProperties: { metadata: { filterMetadata: { signalbox: { pool: 't' } } } } }] },
      },
    })
    expect(await send(toBinary(StreamAccessLogsMessageSchema, log))).toBe(status.OK)
    expect(entries).toEqual([{ pool: 't' }])
    expect(await send(Uint8Array.of(0x12, 0xff))).toBe(status.INVALID_ARGUMENT)
    expect(entries).toHaveLength(1)
  })
})
