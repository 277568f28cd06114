import { Client, Metadata, credentials, status as Status } from '@grpc/grpc-js'
import type { ServiceError } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from '@jest/globals'
import { parse } from 'protobufjs'
import { decodeHealthRequest, encodeHealthResponse } from './health-codec.ts'
import { HEALTH_NAMES, HealthService, ServingStatus } from './health-service.ts'
import { listenHttp2 } from './http2-transport.ts'
import { eventually } from './suite/recording-service.ts'

const { root } = parse(`syntax = "proto3";
  message HealthCheckRequest { string service = 1; }
  message HealthCheckResponse { enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; } ServingStatus status = 1; }
  message Newer { string service = 1; uint64 a = 2; fixed64 b = 3; fixed32 c = 4; bytes d = 50; sint64 e = 6; }`)
const Request = root.lookupType('HealthCheckRequest')
const Response = root.lookupType('HealthCheckResponse')
const Newer = root.lookupType('Newer')

const encode = (service: string): Buffer => Buffer.from(Request.encode({ service }).finish())
const decode = (bytes: Buffer): number => (Response.decode(bytes) as unknown as { status: number }).status

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function start(): Promise<{ health: HealthService; client: Client }> {
  const health = new HealthService()
  const server = await listenHttp2({ services: health.services, listen: { host: '127.0.0.1', port: 0 } })
  cleanups.push(() => server.close())
  const client = new Client(server.address, credentials.createInsecure())
  cleanups.push(() => client.close())
  return { health, client }
}

function check(client: Client, service: string): Promise<number | ServiceError> {
  return new Promise(resolve =>
    client.makeUnaryRequest('/grpc.health.v1.Health/Check', encode, decode, service, (error, value) =>
      resolve(error ?? value!),
    ),
  )
}

function watch(client: Client, service: string): { seen: number[]; cancel(): void } {
  const seen: number[] = []
  const stream = client.makeServerStreamRequest('/grpc.health.v1.Health/Watch', encode, decode, service, new Metadata())
  stream.on('data', (status: number) => seen.push(status))
  stream.on('error', () => {})
  return { seen, cancel: () => stream.cancel() }
}

describe('Check', () => {
  it('answers for every name that gateways ask for', async () => {
    const { health, client } = await start()
    const all = async (): Promise<unknown[]> =>
      Promise.all(Object.values(HEALTH_NAMES).map(name => check(client, name)))
    const { SERVING, NOT_SERVING } = ServingStatus
    expect(await all()).toEqual([NOT_SERVING, SERVING, NOT_SERVING, NOT_SERVING, NOT_SERVING])
    health.setReady(true)
    expect(await all()).toEqual([SERVING, SERVING, SERVING, SERVING, SERVING])
    health.set(HEALTH_NAMES.EXT_PROC, NOT_SERVING)
    expect(await check(client, 'envoy.service.ext_proc.v3.ExternalProcessor')).toBe(NOT_SERVING)
    health.setReady(false)
    expect(await check(client, 'liveness')).toBe(SERVING)
  })

  it('does not know other names', async () => {
    const { client } = await start()
    expect(await check(client, 'nope')).toMatchObject({ code: Status.NOT_FOUND })
  })

  it('refuses no request, two requests and malformed ones', async () => {
    const { client } = await start()
    for (const messages of [
      [],
      [encode('a'), encode('b')],
      [Buffer.from([0x0a, 5, 1])],
      [Buffer.from([0x0a, 1, 0xff])],
    ]) {
      const same = (bytes: Buffer): Buffer => bytes
      const stream = client.makeBidiStreamRequest('/grpc.health.v1.Health/Check', same, same, new Metadata())
      const failed = new Promise<ServiceError>(resolve => stream.once('error', resolve))
      for (const message of messages) stream.write(message)
      stream.end()
      stream.resume()
      expect((await failed).code).toBe(Status.INTERNAL)
    }
  })
})

describe('Watch', () => {
  it('tells the status and every change to all who watch', async () => {
    const { health, client } = await start()
    const [one, two, other] = [watch(client, ''), watch(client, ''), watch(client, 'readiness')]
    await eventually(() => [one, two, other].every(({ seen }) => seen.length === 1))
    health.set('', ServingStatus.SERVING)
    health.set('', ServingStatus.SERVING)
    await eventually(() => one.seen.length === 2 && two.seen.length === 2)
    two.cancel()
    health.setReady(false)
    await eventually(() => one.seen.length === 3)
    const { SERVING, NOT_SERVING } = ServingStatus
    expect(one.seen).toEqual([NOT_SERVING, SERVING, NOT_SERVING])
    expect(other.seen).toEqual([NOT_SERVING])
  })

  it('waits for a name that nobody has set yet', async () => {
    const { health, client } = await start()
    const { seen } = watch(client, 'later')
    await eventually(() => seen.length === 1)
    health.set('later', ServingStatus.SERVING)
    await eventually(() => seen.length === 2)
    expect(seen).toEqual([ServingStatus.SERVICE_UNKNOWN, ServingStatus.SERVING])
  })
})

describe('codec', () => {
  it('agrees with protobufjs', () => {
    for (const service of ['', 'liveness', 'ü'.repeat(200)]) expect(decodeHealthRequest(encode(service))).toBe(service)
    for (const status of Object.values(ServingStatus))
      expect(decode(Buffer.from(encodeHealthResponse(status)))).toBe(status)
  })

  it('skips fields that it does not know', () => {
    const newer = { service: 'x', a: 2 ** 40, b: 5, c: 6, d: Buffer.alloc(300), e: -5 }
    expect(decodeHealthRequest(Newer.encode(newer).finish())).toBe('x')
    expect(decodeHealthRequest(Newer.encode({ ...newer, service: '' }).finish())).toBe('')
  })

  it('refuses every message that is cut off, and groups', () => {
    const whole = Newer.encode({ service: 'abc', a: 2 ** 40, b: 5, c: 6, d: Buffer.alloc(3), e: -5 }).finish()
    const ends = new Set<number>([0])
    const complete = (length: number): boolean => {
      try {
        Newer.decode(whole.subarray(0, length))
        return true
      } catch {
        return false
      }
    }
    for (let length = 1; length <= whole.length; length++) {
      if (complete(length)) ends.add(length)
      expect(decodeHealthRequest(whole.subarray(0, length)) !== undefined).toBe(ends.has(length))
    }
    expect(decodeHealthRequest(Uint8Array.of(0x0b, 0x0c))).toBeUndefined()
    expect(
      decodeHealthRequest(Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)),
    ).toBeUndefined()
  })
})
