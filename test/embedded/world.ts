/** Two backends, a scripted processor and a proxy between them; gone after each test. */
import { afterEach, expect } from '@jest/globals'
import type { JsonObject } from '@bufbuild/protobuf'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { waitFor } from '../support/wait-for.ts'
import type { PlaneOptions } from './plane-resources.ts'
import type { PlaneStarter } from './planes.ts'
import {
  type Answer,
  type CallScript,
  type ScriptedProcessor,
  setHeaders,
  startScriptedProcessor,
} from './scripted-processor.ts'

const open: { close(): unknown }[] = []
/** Closed after the test, before what was started earlier. */
export function onClose(item: { close(): unknown }): void {
  open.push(item)
}

afterEach(async () => {
  for (const item of open.splice(0).toReversed()) await item.close()
})

export interface World {
  readonly u1: RecordingBackend
  readonly u2: RecordingBackend
  readonly processor: ScriptedProcessor
  readonly port: number
  /** Waits until a counter of the filter has this value. */
  readonly counts: (name: string, value: number) => Promise<void>
  readonly stat: (name: string) => Promise<number>
  readonly lines: () => Promise<readonly string[]>
}

export const CLOSED = {
  requestHeaderMode: 'SKIP',
  responseHeaderMode: 'SKIP',
  requestTrailerMode: 'SKIP',
  responseTrailerMode: 'SKIP',
}
export const LOOK = { ...CLOSED, requestHeaderMode: 'SEND', requestBodyMode: 'STREAMED' }
export const DUPLEX = {
  ...CLOSED,
  requestHeaderMode: 'SEND',
  requestBodyMode: 'FULL_DUPLEX_STREAMED',
  requestTrailerMode: 'SEND',
}
export const RECEIVING = {
  metadataOptions: {
    receivingNamespaces: { untyped: ['envoy.lb', 'signalbox'] },
    forwardingNamespaces: { untyped: ['envoy.lb'] },
  },
}

let start: PlaneStarter

/** Every world from here on runs on this proxy. */
export function useProxy(starter: PlaneStarter): void {
  start = starter
}

export async function world(
  script: CallScript,
  extProc: JsonObject,
  options: Partial<PlaneOptions> = {},
): Promise<World> {
  const u1 = await startRecordingBackend({ name: 'u1' })
  const u2 = await startRecordingBackend({ name: 'u2' })
  const processor = await startScriptedProcessor(script)
  open.push(u1, u2, processor)
  const proxy = await start({
    backends: { u1: [u1.port], u2: [u2.port] },
    extProc,
    extProcPort: processor.port,
    ...options,
  })
  open.push(proxy)
  const counts = async (name: string, value: number): Promise<void> => {
    await soon(async () => (await proxy.stat(`ext_proc.${name}`)) === value).catch(() => undefined)
    expect([name, await proxy.stat(`ext_proc.${name}`)]).toEqual([name, value])
  }
  return { u1, u2, processor, port: proxy.port, counts, stat: proxy.stat, lines: proxy.lines }
}

export async function soon(holds: () => boolean | Promise<boolean>): Promise<void> {
  await waitFor('it to hold', holds, { timeoutMs: 20_000, intervalMs: 10 })
}

export const continueHeaders = (set: Record<string, string> = {}): Answer => ({
  response: {
    case: 'requestHeaders',
    value: { response: { headerMutation: { setHeaders: setHeaders(set) }, clearRouteCache: true } },
  },
})
export const emptyBody: Answer = { response: { case: 'requestBody', value: {} } }
export const chunk = (body: Uint8Array | string, endOfStream: boolean): Answer => ({
  response: {
    case: 'requestBody',
    value: {
      response: {
        bodyMutation: { mutation: { case: 'streamedResponse', value: { body: Buffer.from(body), endOfStream } } },
      },
    },
  },
})
export const responseHeaders: Answer = { response: { case: 'responseHeaders', value: {} } }

export const HEADERS = { ...CLOSED, requestHeaderMode: 'SEND' }
export const BUFFERED = { ...HEADERS, requestBodyMode: 'BUFFERED' }
export const NOWAIT = { sendBodyWithoutWaitingForHeaderResponse: true }

/** Answers the first message with these, whatever it is. */
export const answers =
  (...list: Answer[]): CallScript =>
  async call => {
    await call.next()
    call.send(...list)
    await call.over
  }

/** Waits for the body, then answers. */
export const afterBody =
  (...list: Answer[]): CallScript =>
  async call => {
    await call.next()
    await call.next()
    call.send(...list)
    await call.over
  }

export const bodyAnswer = (body: string): Answer => ({
  response: {
    case: 'requestBody',
    value: { response: { bodyMutation: { mutation: { case: 'body', value: Buffer.from(body) } } } },
  },
})
export const trailersAnswer: Answer = { response: { case: 'requestTrailers', value: {} } }
