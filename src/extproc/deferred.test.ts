import { describe, expect, it } from '@jest/globals'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { ScriptedDecider, ScriptedEnvoy, scriptedService } from '../../test/support/ext-proc-script.ts'
import { ProcessingRequestSchema } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { GrpcStatus } from '../grpc/transport.ts'
import { Verdict } from './decider.ts'
import type { Exchange } from './exchange.ts'
import { BodyMode } from './modes.ts'

type Message = MessageInitShape<typeof ProcessingRequestSchema>

type Mode = 'look' | 'full-duplex' | 'buffered'

function headers(mode: Mode, length: number): Message {
  const list = [
    [':method', 'POST'],
    [':path', '/v1/completions'],
    ['content-length', String(length)],
  ].map(([key, value]) => ({ key: key!, rawValue: Buffer.from(value!) }))
  const look = mode === 'look'
  return {
    request: { case: 'requestHeaders', value: { headers: { headers: list }, endOfStream: false } },
    protocolConfig: {
      requestBodyMode: look
        ? BodyMode.STREAMED
        : mode === 'buffered'
          ? BodyMode.BUFFERED
          : BodyMode.FULL_DUPLEX_STREAMED,
      responseBodyMode: look ? BodyMode.NONE : BodyMode.FULL_DUPLEX_STREAMED,
      sendBodyWithoutWaitingForHeaderResponse: look,
    },
  }
}

const body = (bytes: number, eos = false): Message => ({
  request: { case: 'requestBody', value: { body: Buffer.alloc(bytes, 'a'), endOfStream: eos } },
})

/** A request whose decision is deferred with the first piece of its body; the clock stands at `clock.now`. */
function play(mode: Mode, length: number, retryBufferBytes = 0) {
  const clock = { now: 0 }
  const decider = new ScriptedDecider()
  decider.retryBufferBytes = retryBufferBytes
  const found: { exchange?: Exchange; serial: number } = { serial: 0 }
  decider.onBody = (_seen, _ended, exchange) => {
    found.exchange = exchange
    found.serial = exchange.serial
    return Verdict.DEFERRED
  }
  const service = scriptedService(decider, { now: () => clock.now })
  const envoy = new ScriptedEnvoy(service)
  envoy.sends(headers(mode, length))
  const resume = (decide?: () => void) => found.exchange!.resume(found.serial, decide)
  return { envoy, service, clock, decider, resume, routes: () => found.exchange!.decision.set('x-late', 'yes') }
}

describe.each(['look', 'full-duplex'] as const)('a deferred decision (%s)', mode => {
  it('holds the body back where it is, and lets it go on afterwards', () => {
    const { envoy, resume, routes, decider } = play(mode, 400_000)
    // What is followed is not closed by the decision.
    decider.followsResponse = true
    envoy.sends(body(64_000))
    expect(envoy.stream.granted).toBe(0)
    expect(envoy.receivesWords()).toEqual([])
    resume(routes)
    expect(envoy.receivesWords()[0]).toMatch(/^hdr\(x-late=yes/)
    expect(envoy.stream.granted).toBeGreaterThanOrEqual(64_000)
  })

  it('may be a refusal, and is over at once', () => {
    const { envoy, service, resume } = play(mode, 100_000)
    envoy.sends(body(50_000))
    expect(service.openExchanges).toBe(1)
    resume(() => {
      throw new Error('a bug')
    })
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.INTERNAL)
    expect(service.openExchanges).toBe(0)
    expect(service.heldBytes).toBe(0)
  })

  it('is bounded by whoever defers it: neither an upload’s time nor its pauses end it', () => {
    const { envoy, service, clock, resume, routes } = play(mode, 100_000)
    envoy.sends(body(50_000))
    clock.now = 24 * 3600 * 1000
    service.tick()
    expect(envoy.stream.ended).toBeUndefined()
    envoy.receivesWords()
    resume(routes)
    expect(envoy.receivesWords()[0]).toMatch(/^hdr\(x-late=yes/)
  })
})

it('BUFFERED: a body that was held back meanwhile has the time of an upload afterwards, and no more', () => {
  const played = () => {
    const made = play('buffered', 100_000)
    Object.assign(made.decider, { uploadTimeoutMs: 5000, uploadIdleMs: 3000 })
    const tickAt = (at: number) => {
      made.clock.now = at
      made.service.tick()
    }
    const message = toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, body(100_000, true)))
    tickAt(1000)
    made.envoy.sendsPart(message.subarray(0, 50_000), message.length - 50_000)
    for (let at = 2000; at <= 60_000; at += 1000) tickAt(at)
    made.clock.now = 60_900
    made.resume(made.routes)
    tickAt(61_000)
    made.envoy.receivesWords()
    return { ...made, tickAt, rest: () => made.envoy.sendsPart(message.subarray(50_000), 0) }
  }
  const { tickAt, rest, envoy } = played()
  tickAt(63_000)
  expect(envoy.receivesWords()).toEqual([])
  rest()
  expect(envoy.receivesWords()).toEqual([expect.stringContaining('x-late=yes')])

  const stalled = played()
  stalled.tickAt(64_000)
  expect(stalled.envoy.receivesWords()).toEqual(['immediate(408)'])

  const slow = played()
  slow.decider.uploadIdleMs = 1e9
  slow.tickAt(64_900)
  expect(slow.envoy.receivesWords()).toEqual([])
  slow.tickAt(65_000)
  expect(slow.envoy.receivesWords()).toEqual(['immediate(408)'])
})

it('look: Envoy is asked for the time that a decision may be deferred, too', () => {
  const { envoy, service, clock, decider } = play('look', 100_000)
  Object.assign(decider, { messageTimeoutMs: 1000, uploadTimeoutMs: 5000, waitMs: 60_000 })
  envoy.sends(body(50_000))
  clock.now = 500
  service.tick()
  expect(envoy.receivesWords()).toEqual([expect.stringContaining('65')])
})

it('look: of a body that Envoy may keep, the end is waited for after the decision too, for a moment', () => {
  const { envoy, service, resume, routes } = play('look', 1000, 4096)
  envoy.sends(body(400))
  resume(routes)
  expect(envoy.receivesWords()).toEqual([])
  envoy.sends(body(600, true))
  expect(envoy.receivesWords()[0]).toMatch(/^hdr\(x-late=yes/)

  const slow = play('look', 1000, 4096)
  slow.envoy.sends(body(400))
  slow.clock.now = 1e9
  slow.resume(slow.routes)
  slow.service.tick()
  expect(slow.envoy.receivesWords()[0]).toMatch(/^hdr\(x-late=yes/)
  expect(service.openExchanges).toBe(0)
})
