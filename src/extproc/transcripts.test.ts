import { describe, expect, it } from '@jest/globals'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { ScriptedDecider, ScriptedEnvoy, scriptedService } from '../../test/support/ext-proc-script.ts'
import type { ProcessingRequestSchema } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { GrpcStatus } from '../grpc/transport.ts'
import { Verdict } from './decider.ts'
import { HeldBudget } from './held-budget.ts'
import type { ExtProcOptions } from './service.ts'
import { BodyMode } from './modes.ts'

type Message = MessageInitShape<typeof ProcessingRequestSchema>

const header = (key: string, value: string) => ({ key, rawValue: Buffer.from(value) })

function headers(
  mode: { request?: BodyMode; response?: BodyMode; nowait?: boolean } = {},
  options: { eos?: boolean; length?: number; note?: string } = {},
): Message {
  const list = [header(':method', 'POST'), header(':path', '/v1/chat/completions')]
  if (options.length !== undefined) list.push(header('content-length', String(options.length)))
  if (options.note !== undefined) list.push(header('x-note', options.note))
  return {
    request: { case: 'requestHeaders', value: { headers: { headers: list }, endOfStream: options.eos ?? false } },
    protocolConfig: {
      requestBodyMode: mode.request ?? BodyMode.NONE,
      responseBodyMode: mode.response ?? BodyMode.NONE,
      sendBodyWithoutWaitingForHeaderResponse: mode.nowait ?? false,
    },
  }
}

const body = (text: string, eos = false): Message => ({
  request: { case: 'requestBody', value: { body: Buffer.from(text), endOfStream: eos } },
})
const trailers: Message = {
  request: { case: 'requestTrailers', value: { trailers: { headers: [header('x-checksum', '1')] } } },
}
const responseHeaders = (eos = false): Message => ({
  request: { case: 'responseHeaders', value: { headers: { headers: [header(':status', '200')] }, endOfStream: eos } },
})
const responseBody = (text: string, eos = false): Message => ({
  request: { case: 'responseBody', value: { body: Buffer.from(text), endOfStream: eos } },
})
const responseTrailers: Message = { request: { case: 'responseTrailers', value: { trailers: { headers: [] } } } }

const FDS = { request: BodyMode.FULL_DUPLEX_STREAMED, response: BodyMode.FULL_DUPLEX_STREAMED }
const LOOK = { request: BodyMode.STREAMED, nowait: true }
const ROUTED = 'hdr(x-routed=yes clear)'

/** Joins neighbouring chunks: how a body is cut is free in FULL_DUPLEX_STREAMED. */
function joined(words: readonly string[]): string[] {
  const out: string[] = []
  for (const word of words) {
    const last = out[out.length - 1]
    const open = /^((?:resp-)?chunk\[.*)\]$/s.exec(last ?? '')
    const next = /^((?:resp-)?chunk)\[(.*)\]$/s.exec(word)
    if (open && next && last!.startsWith(next[1]!) && !last!.endsWith(' eos]'))
      out[out.length - 1] = `${open[1]}${next[2]}]`
    else out.push(word)
  }
  return out
}

/** Every transcript is played with whole messages, one-byte parts and seven-byte parts. */
describe.each([0, 1, 7])('transcripts, messages in parts of %i bytes (0 = whole)', split => {
  function play(decider = new ScriptedDecider(), options: Partial<ExtProcOptions> = {}) {
    const service = scriptedService(decider, options)
    return { decider, service, envoy: new ScriptedEnvoy(service, split) }
  }

  it('T1: FULL_DUPLEX_STREAMED both ways holds the header answer until the decision and echoes', () => {
    const { envoy, decider, service } = play()
    decider.followsResponse = true
    envoy.sends(headers(FDS))
    expect(envoy.receivesWords()).toEqual([])
    envoy.sends(body('{"model":'))
    expect(envoy.receivesWords()).toEqual([])
    envoy.sends(body('"m"}', true))
    expect(joined(envoy.receivesWords())).toEqual([ROUTED, 'chunk[{"model":"m"} eos]'])
    envoy.sends(responseHeaders())
    expect(envoy.receivesWords()).toEqual(['resp-hdr'])
    envoy.sends(responseBody('data: 1\n\n'))
    expect(joined(envoy.receivesWords())).toEqual(['resp-chunk[data: 1\n\n]'])
    envoy.sends(responseBody('', true))
    expect(envoy.receivesWords()).toEqual(['resp-chunk[ eos]'])
    expect(envoy.stream.ended).toBeUndefined()
    envoy.halfCloses()
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
    expect(decider.log).toEqual(['response headers', 'response end', 'closed'])
    expect(service.heldBytes).toBe(0)
  })

  it('T2: FULL_DUPLEX_STREAMED GET gets a header answer and no chunk', () => {
    const { envoy } = play()
    envoy.sends(headers(FDS, { eos: true }))
    expect(envoy.receivesWords()).toEqual([ROUTED])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('answers an empty FULL_DUPLEX_STREAMED body with an empty last chunk', () => {
    const { envoy } = play()
    envoy.sends(headers(FDS))
    envoy.sends(body('', true))
    expect(envoy.receivesWords()).toEqual([ROUTED, 'chunk[ eos]'])
  })

  it('T3: trailers end the direction; no chunk says end of stream', () => {
    const { envoy } = play()
    envoy.sends(headers(FDS))
    envoy.sends(body('abc'))
    envoy.sends(trailers)
    expect(joined(envoy.receivesWords())).toEqual([ROUTED, 'chunk[abc]', 'trailers'])
  })

  it('T3: trailers after an early decision', () => {
    const { envoy, decider } = play()
    decider.onBody = (seen, ended, exchange) => {
      if (!ended && seen.length < 2) return Verdict.MORE
      exchange.decision.set('x-early', seen.slice(0, 2))
      return Verdict.DECIDED
    }
    envoy.sends(headers(FDS))
    envoy.sends(body('abcdef'))
    expect(joined(envoy.receivesWords())).toEqual(['hdr(x-early=ab)', 'chunk[abcdef]'])
    envoy.sends(body('ghi'))
    expect(joined(envoy.receivesWords())).toEqual(['chunk[ghi]'])
    envoy.sends(trailers)
    expect(envoy.receivesWords()).toEqual(['trailers'])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('T4: BUFFERED answers headers at once and decides in the body answer, with the new length of a changed body', () => {
    const { envoy, decider } = play()
    decider.mayRewrite = true
    decider.onBody = (seen, ended, exchange) => {
      if (!ended) return Verdict.MORE
      exchange.decision.set('x-seen', String(seen.length))
      exchange.decision.clearRouteCache = true
      exchange.decision.replacements.push({ start: 1, end: 2, bytes: Buffer.from('XYZ') })
      return Verdict.DECIDED
    }
    envoy.sends(headers({ request: BodyMode.BUFFERED }, { length: 3 }))
    expect(envoy.receivesWords()).toEqual(['hdr'])
    envoy.sends(body('abc', true))
    expect(envoy.receivesWords()).toEqual(['body(x-seen=3 content-length=5 clear)[aXYZc]'])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('T5: BUFFERED before trailers comes without end of stream and is decided all the same', () => {
    const { envoy, decider } = play()
    decider.followsResponse = true
    envoy.sends(headers({ request: BodyMode.BUFFERED }))
    envoy.sends(body('abc'))
    expect(envoy.receivesWords()).toEqual(['hdr', 'body(x-routed=yes clear)'])
    envoy.sends(trailers)
    expect(envoy.receivesWords()).toEqual(['trailers'])
  })

  it('BUFFERED: a deferred decision that comes before the body goes with its answer (fuzz)', () => {
    const { envoy, decider } = play()
    let resume = (): void => {}
    decider.onHeaders = (_body, _ended, exchange) => {
      const { serial } = exchange
      resume = () => {
        exchange.decision.set('x-late', 'yes')
        exchange.resume(serial)
      }
      return Verdict.DEFERRED
    }
    envoy.sends(headers({ request: BodyMode.BUFFERED }))
    resume()
    expect(envoy.receivesWords()).toEqual(['hdr'])
    envoy.sends(body('abc', true))
    expect(envoy.receivesWords()).toEqual(['body(x-late=yes)'])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('BUFFERED: trailers without a body fail, as no message is left for the decision (fuzz)', () => {
    const { envoy } = play()
    envoy.sends(headers({ request: BodyMode.BUFFERED }))
    envoy.sends(trailers)
    expect(envoy.receivesWords()).toEqual(['hdr'])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.INVALID_ARGUMENT)
  })

  it('T6: STREAMED that waits decides on headers and answers each chunk once, empty', () => {
    const { envoy, decider } = play()
    decider.followsResponse = true
    envoy.sends(headers({ request: BodyMode.STREAMED, response: BodyMode.STREAMED }))
    expect(envoy.receivesWords()).toEqual([ROUTED])
    envoy.sends(body('a'))
    envoy.sends(body('b', true))
    envoy.sends(responseHeaders())
    envoy.sends(responseBody('x'))
    envoy.sends(responseBody('y', true))
    expect(envoy.receivesWords()).toEqual(['body', 'body', 'resp-hdr', 'resp-body', 'resp-body'])
  })

  it('T7: an immediate answer is the last thing', () => {
    const { envoy, decider } = play()
    decider.onHeaders = (_seen, _ended, exchange) => {
      exchange.decision.immediateStatus = 429
      exchange.decision.immediateBody = Buffer.from('later')
      return Verdict.DECIDED
    }
    envoy.sends(headers(FDS))
    expect(envoy.receivesWords()).toEqual(['immediate(429)'])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
    envoy.sends(body('abc', true))
    expect(envoy.receivesWords()).toEqual([])
    expect(envoy.stream.late).toBe(0)
  })

  it('T9: a reset in mid-body frees what was held', () => {
    const { envoy, decider, service } = play()
    envoy.sends(headers(FDS))
    envoy.sends(body('abc'))
    expect(service.heldBytes).toBe(3)
    envoy.resets()
    expect(service.heldBytes).toBe(0)
    expect(service.openExchanges).toBe(0)
    expect(decider.log).toEqual(['closed'])
    expect(envoy.stream.ended).toBeUndefined()
  })

  it('T9: a half-close before the decision never ends with OK', () => {
    const { envoy } = play()
    envoy.sends(headers(LOOK))
    envoy.sends(body('abc'))
    envoy.halfCloses()
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.CANCELLED)
  })

  it('T10: a stream that starts with the response', () => {
    const { envoy } = play()
    envoy.sends({ ...responseHeaders(), protocolConfig: { responseBodyMode: BodyMode.STREAMED } } as Message)
    envoy.sends(responseBody('x', true))
    expect(envoy.receivesWords()).toEqual(['resp-hdr', 'resp-body'])
    envoy.halfCloses()
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('T11: observability mode reads all and says nothing', () => {
    const { envoy } = play()
    envoy.sends({ request: headers().request!, observabilityMode: true })
    envoy.sends({ ...body('abc', true), observabilityMode: true })
    envoy.sends({ ...responseHeaders(), observabilityMode: true })
    expect(envoy.receivesWords()).toEqual([])
    envoy.halfCloses()
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('T12: a local reply while the request is undecided is answered in its own direction', () => {
    const { envoy } = play()
    envoy.sends(headers(FDS))
    envoy.sends(responseHeaders(true))
    expect(envoy.receivesWords()).toEqual(['resp-hdr'])
    envoy.sends(body('a', true))
    expect(joined(envoy.receivesWords())).toEqual([ROUTED, 'chunk[a eos]'])
  })

  it('look: answers as soon as the decision is there and closes with OK', () => {
    const { envoy, decider } = play()
    decider.onBody = (seen, _ended, exchange) => {
      if (!seen.includes('"m"')) return Verdict.MORE
      exchange.decision.set('x-model', 'm')
      return Verdict.DECIDED
    }
    envoy.sends(headers(LOOK, { length: 1000 }))
    envoy.sends(body('{"model":'))
    expect(envoy.receivesWords()).toEqual([])
    envoy.sends(body('"m", …'))
    expect(envoy.receivesWords()).toEqual(['hdr(x-model=m)'])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
    envoy.sends(body('more'))
    expect(envoy.receivesWords()).toEqual([])
    expect(envoy.stream.late).toBe(0)
  })

  it('look: a body of unknown length is read to its end, so that the cap holds', () => {
    const first = play()
    first.decider.onBody = () => Verdict.DECIDED
    first.decider.maxBodyBytes = 5
    first.envoy.sends(headers(LOOK))
    first.envoy.sends(body('abc'))
    expect(first.envoy.receivesWords()).toEqual([])
    first.envoy.sends(body('d', true))
    expect(first.envoy.receivesWords()).toEqual(['hdr'])
    expect(first.envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('look: an unknown length that dribbles is answered on, and refused beyond the cap', () => {
    const { envoy, decider, service } = play()
    decider.onBody = () => Verdict.DECIDED
    decider.maxBodyBytes = 5
    envoy.sends(headers(LOOK))
    envoy.sends(body('abc'))
    service.tick()
    service.tick()
    expect(envoy.receivesWords()).toEqual(['hdr', 'body'])
    envoy.sends(body('de'))
    expect(envoy.receivesWords()).toEqual(['body'])
    envoy.sends(body('f'))
    expect(envoy.receivesWords()).toEqual(['immediate(413)'])
    service.close()
  })

  it('look: a plan that follows the response answers every chunk, empty', () => {
    const { envoy, decider } = play()
    decider.followsResponse = true
    envoy.sends(headers(LOOK, { length: 4 }))
    envoy.sends(body('ab'))
    expect(envoy.receivesWords()).toEqual([])
    // content-length is reached: with trailers no end of stream would come before the answer
    envoy.sends(body('cd'))
    expect(envoy.receivesWords()).toEqual([ROUTED, 'body', 'body'])
    envoy.sends(body('', true))
    expect(envoy.receivesWords()).toEqual(['body'])
  })

  it('look: a rewrite returns only the chunks that change, then closes', () => {
    const { envoy, decider } = play()
    decider.mayRewrite = true
    decider.onBody = (seen, ended, exchange) => {
      if (!ended && !seen.includes('"mo')) return Verdict.MORE
      if (!seen.includes('del"')) return Verdict.MORE
      exchange.decision.replacements.push({ start: 3, end: 10, bytes: Buffer.from('"M"') })
      return Verdict.DECIDED
    }
    envoy.sends(headers(LOOK, { length: 16 }))
    envoy.sends(body('ab'))
    envoy.sends(body('c"mo'))
    envoy.sends(body('del"xy'))
    expect(envoy.receivesWords()).toEqual(['hdr(content-length=12)', 'body', 'body[c"M"]', 'body[xy]'])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('look: a chunk that changes comes back whole, though the decision falls in its middle', () => {
    const { envoy, decider } = play()
    decider.mayRewrite = true
    decider.onBody = (seen, _ended, exchange) => {
      if (!seen.includes('model"')) return Verdict.MORE
      exchange.decision.replacements.push({ start: 15, end: 22, bytes: Buffer.from('"M"') })
      return Verdict.DECIDED
    }
    const [before, after] = ['a'.repeat(15), 'z'.repeat(200)]
    envoy.sends(headers(LOOK, { length: 522 }))
    envoy.sends(body(`${before}"model"${after}`))
    // Envoy sends the rest by itself once the stream has ended.
    expect(envoy.receivesWords()).toEqual(['hdr(content-length=518)', `body[${before}"M"${after}]`])
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.OK)
  })

  it('FULL_DUPLEX_STREAMED: a rewrite changes only its bytes', () => {
    const { envoy, decider } = play()
    decider.mayRewrite = true
    decider.onBody = (seen, _ended, exchange) => {
      if (seen.length < 4) return Verdict.MORE
      exchange.decision.replacements.push({ start: 1, end: 6, bytes: Buffer.from('-') })
      return Verdict.DECIDED
    }
    envoy.sends(headers(FDS))
    envoy.sends(body('abcd'))
    envoy.sends(body('efgh', true))
    expect(joined(envoy.receivesWords())).toEqual(['hdr', 'chunk[a-gh eos]'])
  })

  it('ignores a last chunk that comes twice (envoy #46237)', () => {
    const { envoy, decider } = play()
    decider.followsResponse = true
    envoy.sends(headers(FDS))
    envoy.sends(body('abc', true))
    envoy.sends(body('abc', true))
    expect(joined(envoy.receivesWords())).toEqual([ROUTED, 'chunk[abc eos]'])
  })

  it('BUFFERED_PARTIAL is answered and never read', () => {
    const { envoy, decider } = play()
    decider.followsResponse = true
    envoy.sends(headers({ request: BodyMode.BUFFERED_PARTIAL }))
    envoy.sends(body('abc'))
    expect(envoy.receivesWords()).toEqual([ROUTED, 'body'])
  })

  it('a body over the cap is refused, known from content-length or not', () => {
    const first = play()
    first.envoy.sends(headers(LOOK, { length: 2 * 1024 * 1024 }))
    expect(first.envoy.receivesWords()).toEqual(['immediate(413)'])
    const second = play()
    second.decider.maxBodyBytes = 5
    second.envoy.sends(headers(FDS))
    second.envoy.sends(body('abc'))
    second.envoy.sends(body('def'))
    expect(second.envoy.receivesWords()).toEqual(['immediate(413)'])
    expect(second.service.heldBytes).toBe(0)
  })

  it('held bytes of all streams are bounded: 503, and the others go on', () => {
    const decider = new ScriptedDecider()
    const service = scriptedService(decider, { budget: new HeldBudget(8) })
    const one = new ScriptedEnvoy(service, split)
    const two = new ScriptedEnvoy(service, split)
    one.sends(headers(FDS))
    one.sends(body('12345'))
    two.sends(headers(FDS))
    two.sends(body('12345'))
    expect(two.receivesWords()).toEqual(['immediate(503)'])
    one.sends(body('', true))
    expect(joined(one.receivesWords())).toEqual([ROUTED, 'chunk[12345 eos]'])
    expect(service.heldBytes).toBe(0)
  })

  it('a body that comes byte by byte is not held byte by byte', () => {
    for (const retainsParts of [false, true]) {
      const { envoy, service } = play(new ScriptedDecider(), { retainsParts })
      envoy.sends(headers(FDS))
      const text = Array.from({ length: 6000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('')
      for (const byte of text) envoy.sends(body(byte))
      expect(service.heldBytes).toBe(text.length)
      envoy.sends(body('!', true))
      const words = envoy.receivesWords()
      expect(joined(words)).toEqual([ROUTED, `chunk[${text}! eos]`])
      // Each piece goes back by itself.
      expect(words.length).toBeLessThan(6)
    }
  })

  it('an error after the decision tells no request id out of bytes that were only lent', () => {
    const told: (string | undefined)[] = []
    const decider = new ScriptedDecider()
    decider.followsResponse = true
    decider.onHeaders = (_, _ended, exchange) => {
      exchange.decision.set('x-routed', 'yes')
      return Verdict.DECIDED
    }
    const { envoy } = play(decider, { retainsParts: false, onError: (_, id) => told.push(id) })
    envoy.sends({
      request: {
        case: 'requestHeaders',
        value: { headers: { headers: [header('x-request-id', 'id')] }, endOfStream: true },
      },
      protocolConfig: { requestBodyMode: BodyMode.NONE, responseBodyMode: BodyMode.NONE },
    })
    decider.responseHeaders = () => {
      throw new Error('a bug')
    }
    envoy.sends(responseHeaders())
    expect(told).toEqual([undefined])
  })

  it('overrides the mode of a gateway that sends no body, where it may', () => {
    const buffered = play(new ScriptedDecider(), { modeOverride: 'buffered' })
    buffered.envoy.sends(headers())
    expect(buffered.envoy.receivesWords()).toEqual(['hdr+mode(2)'])
    buffered.envoy.sends(body('abc', true))
    expect(buffered.envoy.receivesWords()).toEqual(['body(x-routed=yes clear)'])

    const duplex = play(new ScriptedDecider(), { modeOverride: 'full-duplex' })
    duplex.envoy.sends(headers())
    expect(duplex.envoy.receivesWords()).toEqual(['mode(4)'])
    duplex.envoy.sends(body('abc', true))
    expect(joined(duplex.envoy.receivesWords())).toEqual([ROUTED, 'chunk[abc eos]'])

    const none = play()
    none.envoy.sends(headers())
    expect(none.envoy.receivesWords()).toEqual([ROUTED])
  })

  it('a deferred decision is written when it comes, and not after the end', () => {
    const { envoy, decider } = play()
    let resume = () => {}
    decider.onBody = (_seen, ended, exchange) => {
      if (!ended) return Verdict.MORE
      const { serial } = exchange
      resume = () => exchange.resume(serial)
      exchange.decision.set('x-late', 'yes')
      return Verdict.DEFERRED
    }
    envoy.sends(headers(FDS))
    envoy.sends(body('abc', true))
    expect(envoy.receivesWords()).toEqual([])
    resume()
    expect(joined(envoy.receivesWords())).toEqual(['hdr(x-late=yes)', 'chunk[abc eos]'])
    resume()
    expect(envoy.receivesWords()).toEqual([])
    expect(envoy.stream.late).toBe(0)
  })

  it('answers a response that ends with trailers', () => {
    const { envoy, decider } = play()
    decider.followsResponse = true
    envoy.sends(headers(FDS, { eos: true }))
    envoy.sends(responseHeaders())
    envoy.sends(responseBody('x'))
    envoy.sends(responseTrailers)
    expect(joined(envoy.receivesWords())).toEqual([ROUTED, 'resp-hdr', 'resp-chunk[x]', 'resp-trailers'])
    expect(decider.log).toContain('response end')
  })

  it('a broken message ends its stream with an error, never OK', () => {
    const { envoy, service } = play()
    envoy.sends(headers(FDS))
    envoy.sendsBytes(Buffer.from([0x22, 0x7f, 0x0a, 0x01, 0x61, 0xff, 0xff]))
    expect(envoy.stream.ended?.status).toBe(GrpcStatus.INVALID_ARGUMENT)
    expect(service.openExchanges).toBe(0)
  })

  it('a second request_headers and a body without headers are violations', () => {
    const twice = play()
    twice.envoy.sends(headers(FDS))
    twice.envoy.sends(headers(FDS))
    expect(twice.envoy.stream.ended?.status).toBe(GrpcStatus.INVALID_ARGUMENT)
    const bare = play()
    bare.envoy.sends(body('abc', true))
    expect(bare.envoy.stream.ended?.status).toBe(GrpcStatus.INVALID_ARGUMENT)
  })

  it('a decider that throws costs its own stream only', () => {
    const errors: unknown[] = []
    const decider = new ScriptedDecider()
    const service = scriptedService(decider, { onError: error => errors.push(error) })
    decider.onBody = seen => {
      if (seen.includes('bug')) throw new Error('a bug')
      return Verdict.MORE
    }
    const one = new ScriptedEnvoy(service, split)
    one.sends(headers(FDS))
    one.sends(body('bug'))
    expect(one.stream.ended?.status).toBe(GrpcStatus.INTERNAL)
    expect(errors).toHaveLength(1)
    expect(service.openExchanges).toBe(0)
  })
})

describe('time', () => {
  it('ends a stream on which no message comes', () => {
    let now = 0
    const decider = new ScriptedDecider()
    const service = scriptedService(decider, { now: () => now })
    const [silent, halfway, speaking] = [0, 1, 2].map(() => new ScriptedEnvoy(service)) as [
      ScriptedEnvoy,
      ScriptedEnvoy,
      ScriptedEnvoy,
    ]
    halfway.sendsPart(Buffer.from([0x12]), 100)
    speaking.sends(responseHeaders())
    now = decider.uploadIdleMs - 1
    service.tick()
    expect(silent.stream.ended).toBeUndefined()
    now++
    service.tick()
    expect(silent.stream.ended?.status).toBe(GrpcStatus.DEADLINE_EXCEEDED)
    expect(halfway.stream.ended?.status).toBe(GrpcStatus.DEADLINE_EXCEEDED)
    expect(speaking.stream.ended).toBeUndefined()
    expect(service.openExchanges).toBe(1)
    service.close()
  })

  it('counts headers that come in parts, or wait, among the bytes that are held', () => {
    const service = scriptedService(new ScriptedDecider(), { budget: new HeldBudget(20_000) })
    const large = headers(FDS, { note: 'y'.repeat(9_000) })
    const waiting = new ScriptedEnvoy(service)
    waiting.sends(large)
    expect(service.heldBytes).toBeGreaterThan(9_000)
    const coming = new ScriptedEnvoy(service)
    coming.sendsPart(Buffer.alloc(9_000, 0x12), 10_000)
    expect(service.heldBytes).toBeGreaterThan(18_000)
    coming.sendsPart(Buffer.alloc(5_000), 5_000)
    expect(coming.stream.ended?.status).toBe(GrpcStatus.RESOURCE_EXHAUSTED)
    const second = new ScriptedEnvoy(service)
    second.sends(large)
    const third = new ScriptedEnvoy(service)
    third.sends(large)
    expect(third.receivesWords()).toEqual(['immediate(503)'])
    for (const envoy of [waiting, second]) envoy.resets()
    expect(service.heldBytes).toBe(0)
    service.close()
  })

  it('asks once for a longer message timeout, then refuses the upload', () => {
    let now = 0
    const decider = new ScriptedDecider()
    const service = scriptedService(decider, { now: () => now })
    const envoy = new ScriptedEnvoy(service)
    envoy.sends(headers(LOOK))
    envoy.sends(body('a'))
    now = 499
    service.tick()
    expect(envoy.receivesWords()).toEqual([])
    now = 500
    service.tick()
    service.tick()
    expect(envoy.receivesWords()).toEqual(['timeout(10000)'])
    now = 10_000
    service.tick()
    expect(envoy.receivesWords()).toEqual(['immediate(408)'])
    expect(service.openExchanges).toBe(0)
    service.close()
  })
})
