import type { MessageInitShape } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import { ScriptedDecider, ScriptedEnvoy, scriptedService } from '../../test/support/ext-proc-script.ts'
import type { ProcessingRequestSchema } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { GrpcStatus } from '../grpc/transport.ts'
import { Verdict } from './decider.ts'
import type { Exchange } from './exchange.ts'
import { BodyMode } from './modes.ts'

type Message = MessageInitShape<typeof ProcessingRequestSchema>

const MODES = { look: BodyMode.STREAMED, buffered: BodyMode.BUFFERED, 'full-duplex': BodyMode.FULL_DUPLEX_STREAMED }
type Mode = keyof typeof MODES

const headers = (mode: Mode): Message => ({
  request: {
    case: 'requestHeaders',
    value: { headers: { headers: [{ key: ':method', rawValue: Buffer.from('POST') }] }, endOfStream: false },
  },
  protocolConfig: {
    requestBodyMode: MODES[mode],
    responseBodyMode: MODES[mode],
    sendBodyWithoutWaitingForHeaderResponse: mode === 'look',
  },
})
const body: Message = { request: { case: 'requestBody', value: { body: Buffer.from('{}'), endOfStream: true } } }
const responseHeaders: Message = {
  request: {
    case: 'responseHeaders',
    value: { headers: { headers: [{ key: ':status', rawValue: Buffer.from('200') }] }, endOfStream: false },
  },
}
const piece = (endOfStream: boolean): Message => ({
  request: { case: 'responseBody', value: { body: Buffer.from('data: 1\n\n'), endOfStream } },
})

/** A request that was sent on, and whose response is followed. */
function play(mode: Mode) {
  const decider = new ScriptedDecider()
  decider.followsResponse = true
  const found: { exchange?: Exchange; serial: number } = { serial: 0 }
  decider.onBody = (_seen, ended, exchange) => {
    if (!ended) return Verdict.MORE
    found.exchange = exchange
    found.serial = exchange.serial
    exchange.decision.set('x-routed', 'yes')
    return Verdict.DECIDED
  }
  const errors: unknown[] = []
  const service = scriptedService(decider, { onError: error => errors.push(error) })
  const envoy = new ScriptedEnvoy(service)
  envoy.sends(headers(mode))
  // Who waits for the header answer sends no body before it.
  if (mode !== 'buffered') envoy.sends(body)
  else if (envoy.receivesWords().length > 0) envoy.sends(body)
  const revoke = (decide = () => void (found.exchange!.decision.immediateStatus = 429), serial = found.serial) =>
    found.exchange!.revoke(serial, decide)
  return { envoy, service, decider, revoke, found, errors }
}

describe.each(Object.keys(MODES) as Mode[])('a decision that is taken back (%s)', mode => {
  it('before the response, and in the middle of it', () => {
    for (const messages of [[], [responseHeaders], [responseHeaders, piece(false)]]) {
      const { envoy, service, revoke, errors } = play(mode)
      for (const message of messages) envoy.sends(message)
      envoy.receives()
      revoke()
      // Nothing of the first decision is in it.
      const [{ response }, ...others] = envoy.receives() as [ReturnType<typeof envoy.receives>[number]]
      expect([response.case, others]).toEqual(['immediateResponse', []])
      if (response.case === 'immediateResponse') {
        expect(response.value.status?.code).toBe(429)
        expect(response.value.headers?.setHeaders ?? []).toEqual([])
      }
      expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
      expect([service.openExchanges, service.heldBytes]).toEqual([0, 0])
      // What the peer had sent already, and that it has gone, is nobody's any more.
      envoy.sends(piece(true))
      envoy.resets()
      revoke()
      expect([envoy.receives(), envoy.stream.late, errors]).toEqual([[], 0, []])
    }
  })

  it('not behind the end of the response, and not in another life of the record', () => {
    const { envoy, revoke, found } = play(mode)
    revoke(undefined, found.serial - 1)
    envoy.sends(responseHeaders)
    envoy.sends(piece(true))
    envoy.receives()
    revoke()
    expect(envoy.receives()).toEqual([])
  })

  it('a bug in it ends the stream with an error', () => {
    const { envoy, service, revoke, errors } = play(mode)
    envoy.receives()
    revoke(() => {
      throw new Error('bug')
    })
    expect(envoy.receives()).toEqual([])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.INTERNAL)
    expect([errors.length, service.openExchanges]).toEqual([1, 0])
  })
})
