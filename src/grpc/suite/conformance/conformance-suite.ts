/**
 * HTTP/2 conformance of a transport: the cases of h2spec in a table of our own that needs no Go. h2spec 2.2.1 has 145 and one for
 * strict mode only; its current sources have one more (`hpack/2.3.3/2`). Each case is played on a connection of its own, as the
 * request of a gRPC call, with its bytes in one write and one by one, and as the plain request that h2spec sends.
 *
 * Stricter than h2spec, which takes any end of the connection for a connection error: a GOAWAY before it must have the right code.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { frameMessage } from '../../framing.ts'
import { GrpcStatus } from '../../transport.ts'
import type { StreamService, TransportServer } from '../../transport.ts'
import { settings } from '../frames.ts'
import { FrameType, PREFACE, RawHttp2Client } from '../raw-http2-client.ts'
import type { Listen } from '../harness.ts'
import { RecordingService } from '../recording-service.ts'
import { MAX_STREAMS } from './conformance-case.ts'
import type { ConformanceCase, Outcome, RequestForm, Step } from './conformance-case.ts'
import { connectionCases } from './connection-cases.ts'
import { frameCases } from './frame-cases.ts'
import { genericCases } from './generic-cases.ts'
import { genericHpackCases } from './generic-hpack-cases.ts'
import { hpackCases } from './hpack-cases.ts'
import { messageCases } from './message-cases.ts'
import { grpcCall, plainRequest } from './request-forms.ts'
import { settingsCases } from './settings-cases.ts'
import { streamCases } from './stream-cases.ts'

/** An outcome that has not come by then will not come. Only a failing case waits so long. */
const PATIENCE_MS = 5000
const PATIENCE_WITH_KNOWN_MS = 700
/** Of a step written byte by byte; what follows is filling. */
const SINGLE_BYTES = 120

export interface TransportTraits {
  /** Ids of cases that the transport is known to fail, by request form. The suite fails when one passes. */
  readonly fails?: Readonly<Record<'gRPC call' | 'plain request', readonly string[]>>
  /** It refuses plain requests with a text of five bytes at the least. Otherwise the cases that watch DATA are left out there. */
  readonly refusesWithText?: boolean
}

export function conformanceSuite(name: string, listen: Listen, traits: TransportTraits = {}): void {
  describe(`${name}: HTTP/2 conformance`, () => {
    let server: TransportServer
    beforeAll(async () => {
      server = await listen({
        services: [greeter()],
        listen: { host: '127.0.0.1', port: 0 },
        maxConcurrentStreams: MAX_STREAMS,
      })
    })
    afterAll(() => server.close())

    it('has every case of h2spec once', () => {
      const ids = allCases(grpcCall(GREETER)).map(({ id }) => id)
      expect(ids).toHaveLength(147)
      expect(new Set(ids).size).toBe(147)
    })

    for (const request of [grpcCall(GREETER), plainRequest(traits.refusesWithText === true)]) {
      const failing = traits.fails?.[request.name as 'gRPC call'] ?? []
      const cases = allCases(request).filter(({ needsBody }) => needsBody !== true || request.answered)
      const passing = cases.filter(({ id }) => !failing.includes(id))
      describe(request.name, () => {
        it.each(passing.map(each => [`${each.id}: ${each.name} (RFC ${each.rfc})`, each] as const))(
          '%s',
          async (_, each) => {
            await play(server.port, each, false)
            // A refused request is over before the rest of its bytes is there, which is another case.
            if (request.name === 'gRPC call') await play(server.port, each, true)
          },
        )

        if (failing.length === 0) return
        it(`known to fail: ${failing.join(', ')}`, async () => {
          const failed = cases.filter(({ id }) => failing.includes(id)).map(each => fails(server.port, each))
          expect((await Promise.all(failed)).filter(id => id !== undefined)).toEqual(failing)
        })
      })
    }

    it('serves on', async () => {
      const fine = allCases(grpcCall(GREETER)).find(({ id }) => id === 'generic/4/3')!
      await play(server.port, fine, false)
    })
  })
}

const GREETER = '/test.Greeter/Hello'

/** Answers when the client has finished. */
function greeter(): StreamService {
  return new RecordingService(GREETER, {
    halfClosed: ({ stream }) => {
      stream.send(frameMessage(Buffer.from('hello')))
      stream.end(GrpcStatus.OK)
    },
  })
}

function allCases(request: RequestForm): readonly ConformanceCase[] {
  const groups = [
    genericCases,
    genericHpackCases,
    connectionCases,
    streamCases,
    frameCases,
    settingsCases,
    messageCases,
    hpackCases,
  ]
  return groups.flatMap(cases => cases(request))
}

async function fails(port: number, each: ConformanceCase): Promise<string | undefined> {
  return play(port, each, false, PATIENCE_WITH_KNOWN_MS).then(
    () => undefined,
    () => each.id,
  )
}

/** Resolves when every outcome came. `byByte`: the bytes of a step in single writes. */
async function play(port: number, each: ConformanceCase, byByte: boolean, patience = PATIENCE_MS): Promise<void> {
  const client = await RawHttp2Client.open(port)
  try {
    if (each.start !== 'bare') await handshake(client)
    let since = client.frames.length
    for (const step of mergeWrites(each.steps, client)) {
      if (step instanceof Uint8Array) await write(client, step, byByte)
      else {
        await outcome(client, step, since, patience)
        since = client.frames.length
      }
    }
  } finally {
    client.destroy()
  }
}

async function handshake(client: RawHttp2Client): Promise<void> {
  client.write(PREFACE, settings())
  await client.until(() => client.of(FrameType.SETTINGS).length === 2)
}

function mergeWrites(steps: readonly Step[], client: RawHttp2Client): readonly (Uint8Array | Outcome)[] {
  const merged: (Uint8Array | Outcome)[] = []
  for (const step of steps) {
    const known = typeof step === 'function' ? step(client) : step
    const before = merged.at(-1)
    if (known instanceof Uint8Array && before instanceof Uint8Array)
      merged[merged.length - 1] = Buffer.concat([before, known])
    else merged.push(known)
  }
  return merged
}

async function write(client: RawHttp2Client, bytes: Uint8Array, byByte: boolean): Promise<void> {
  const single = byByte ? Math.min(SINGLE_BYTES, bytes.length) : 0
  for (let at = 0; at < single; at++) {
    client.write(bytes.subarray(at, at + 1))
    // So that the server reads some of them apart.
    if (at % 8 === 7) await new Promise(resolve => setImmediate(resolve))
  }
  if (single < bytes.length) client.write(bytes.subarray(single))
}

async function outcome(
  client: RawHttp2Client,
  { what, seen }: Outcome,
  since: number,
  patience: number,
): Promise<void> {
  const late = new AbortController()
  const holds = (): boolean => seen(client.frames.slice(since), client)
  try {
    await Promise.race([
      client.until(holds),
      sleep(patience, undefined, { signal: late.signal }).then(() => {
        throw new Error('nothing more came')
      }),
    ])
  } catch (error) {
    const came = client.frames
      .slice(since)
      .map(
        ({ type, flags, stream, payload }) =>
          `type ${type} flags ${flags} stream ${stream} ${payload.subarray(0, 24).toString('hex')}`,
      )
    throw new Error(`expected ${what}; ${(error as Error).message}; frames: ${came.join(' | ') || 'none'}`, {
      cause: error,
    })
  } finally {
    late.abort()
  }
}
