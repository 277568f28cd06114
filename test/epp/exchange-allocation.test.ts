/** The price of a look in garbage: no promise, closure or object a message (CONTRIBUTING.md, hot path). */
import { createHook } from 'node:async_hooks'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { describe, expect, it } from '@jest/globals'
import { BodyMode } from '../../src/extproc/modes.ts'
import type { ExtProcService } from '../../src/extproc/service.ts'
import { ProcessingRequestSchema } from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { type ServerStream, StreamEnd } from '../../src/grpc/transport.ts'
import { PickerRig, pod } from './picker-rig.ts'

const BATCH = 100
const BATCHES = 15
/** V8 optimises code when it comes to it. */
const MOST_ROUNDS = 40
/** Of an exchange, however many messages it has. It is some 550; an object or a closure a message would be 50 bytes for each of these. */
const MESSAGES = 60
const MOST_BYTES = 2048

const encode = (message: MessageInitShape<typeof ProcessingRequestSchema>): Buffer =>
  Buffer.from(toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, message)))

/** A request in look mode whose model stands last: all of its `chunks` are read. */
function lookMessages(chunks: number, chunkBytes = 60): Buffer[] {
  const headers = Object.entries({
    ':method': 'POST',
    ':path': '/v1/completions',
    ':authority': 'models',
    'content-type': 'application/json',
    'x-request-id': '7f1c9f9e-0000-4000-8000-000000000000',
  }).map(([key, value]) => ({ key, rawValue: Buffer.from(value) }))
  const end = '","model":"m"}'
  const start = '{"prompt":"'
  const body = Buffer.from(
    start + 'word '.repeat(chunks * chunkBytes).slice(0, chunks * chunkBytes - start.length - end.length) + end,
  )
  return [
    encode({
      request: { case: 'requestHeaders', value: { headers: { headers } } },
      protocolConfig: {
        requestBodyMode: BodyMode.STREAMED,
        responseBodyMode: BodyMode.NONE,
        sendBodyWithoutWaitingForHeaderResponse: true,
      },
    }),
    ...Array.from({ length: chunks }, (_, i) =>
      encode({
        request: {
          case: 'requestBody',
          value: { body: body.subarray(i * chunkBytes, (i + 1) * chunkBytes), endOfStream: i === chunks - 1 },
        },
      }),
    ),
  ]
}

/** Takes all and keeps nothing. */
class Sink implements ServerStream {
  pendingBytes = 0
  sent = 0

  send({ length }: Uint8Array): void {
    this.sent += length
  }

  end(): void {}
  grant(): void {}
}

const NO_HEADERS = {}
const sink = new Sink()

function play(service: ExtProcService, messages: readonly Buffer[], between?: (i: number) => void): void {
  const handler = service.open(sink, NO_HEADERS)
  for (let i = 0; i < messages.length; i++) {
    handler.data(messages[i]!, 0)
    between?.(i)
  }
  handler.closed(StreamEnd.RESET)
}

/** Bytes of heap a call: the median of batches, so that neither a collection nor a compilation in some of them counts. */
function bytesPerCall(run: () => void): number {
  const grown: number[] = []
  for (let batch = 0; batch < BATCHES; batch++) {
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < BATCH; i++) run()
    grown.push(process.memoryUsage().heapUsed - before)
  }
  return grown.sort((a, b) => a - b)[BATCHES >> 1]! / BATCH
}

function settled(run: () => void): number {
  let bytes = Number.POSITIVE_INFINITY
  for (let round = 0; round < MOST_ROUNDS && bytes > MOST_BYTES; round++) bytes = Math.min(bytes, bytesPerCall(run))
  return bytes
}

function promisesOf(run: () => void): number {
  let promises = 0
  const hook = createHook({ init: (_id, type) => void (promises += type === 'PROMISE' ? 1 : 0) }).enable()
  try {
    run()
  } finally {
    hook.disable()
  }
  return promises
}

describe('an exchange in memory that looks', () => {
  const rig = new PickerRig([pod(0, 0), pod(0, 0)])
  const { service } = rig

  it.each([1, MESSAGES])(
    'allocates little, with %i messages of the body',
    count => {
      const messages = lookMessages(count)
      sink.sent = 0
      const { inFlight } = rig
      play(service, messages)
      // The decision, and an answer to each other message.
      expect(rig.inFlight).toBe(inFlight + 1)
      expect(sink.sent).toBeGreaterThan(100 + 4 * count)
      expect(settled(() => play(service, messages))).toBeLessThanOrEqual(MOST_BYTES)
    },
    120_000,
  )

  it('makes no promise', () => {
    const messages = lookMessages(MESSAGES)
    expect(promisesOf(() => play(service, messages))).toBe(0)
  })

  it('is seen when it does either', () => {
    const messages = lookMessages(MESSAGES)
    const kept: unknown[] = []
    const closures = () => play(service, messages, i => (kept[i & 7] = () => i))
    expect(bytesPerCall(closures)).toBeGreaterThan(MOST_BYTES)
    expect(promisesOf(() => play(service, messages, () => void Promise.resolve()))).toBeGreaterThan(MESSAGES)
  }, 120_000)
})
