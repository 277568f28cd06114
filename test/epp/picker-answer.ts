/** What an endpoint picker answers to a request, as a gateway in full duplex takes it. */
import { expect } from '@jest/globals'
import type { JsonObject } from '@bufbuild/protobuf'
import type {
  HeaderMutation,
  ImmediateResponse,
  ProcessingResponse,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import type { Call } from './picker-session.ts'

export interface Answer {
  readonly set: Readonly<Record<string, string>>
  readonly removed: readonly string[]
  readonly clearRouteCache: boolean
  /** `dynamic_metadata` of the header answer. */
  readonly metadata: JsonObject
  /** The body as the upstream gets it, and its chunks' sizes. */
  readonly body: string
  readonly ended: boolean
  readonly trailers: boolean
  readonly refusal:
    | { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string }
    | undefined
}

/** @throws where a gateway would not take what came to `call`. */
export function readAnswer(messages: readonly ProcessingResponse[], call: Pick<Call, 'body' | 'trailers'>): Answer {
  const set: Record<string, string> = {}
  const removed: string[] = []
  const chunks: Buffer[] = []
  let metadata: JsonObject = {}
  let clearRouteCache = false
  let refusal: Answer['refusal']
  let answered = false
  let ended = false
  let trailers = false
  for (const { response, dynamicMetadata } of messages) {
    expect([ended && response.case === 'requestBody', trailers, refusal]).toEqual([false, false, undefined])
    if (response.case === 'requestHeaders') {
      expect(answered).toBe(false)
      answered = true
      metadata = dynamicMetadata ?? {}
      const common = response.value.response
      clearRouteCache = common?.clearRouteCache ?? false
      for (const { header, append } of common?.headerMutation?.setHeaders ?? []) {
        expect(append).toBe(false)
        expect(Object.hasOwn(set, header!.key)).toBe(false)
        set[header!.key] = Buffer.from(header!.rawValue).toString()
      }
      removed.push(...(common?.headerMutation?.removeHeaders ?? []))
    } else if (response.case === 'requestBody') {
      expect(answered).toBe(true)
      const mutation = response.value.response?.bodyMutation?.mutation
      expect(mutation?.case).toBe('streamedResponse')
      if (mutation?.case !== 'streamedResponse') continue
      expect(mutation.value.body.length).toBeLessThanOrEqual(64 * 1024)
      chunks.push(Buffer.from(mutation.value.body))
      ended = mutation.value.endOfStream
    } else if (response.case === 'requestTrailers') {
      expect(answered).toBe(true)
      trailers = true
    } else if (response.case === 'immediateResponse') {
      expect(answered).toBe(false)
      refusal = refusalOf(response.value)
    } else {
      throw new Error(`a gateway does not expect ${response.case ?? 'nothing'}`)
    }
  }
  if (refusal === undefined) {
    expect(answered).toBe(true)
    if (call.body !== undefined && call.trailers !== true) expect(ended).toBe(true)
    if (call.trailers === true) expect([ended, trailers]).toEqual([false, true])
  }
  const body = Buffer.concat(chunks).toString()
  return { set, removed, clearRouteCache, metadata, body, ended, trailers, refusal }
}

export function refusalOf({ status, headers, body }: ImmediateResponse): Answer['refusal'] {
  return { status: status!.code, headers: setOf(headers), body: Buffer.from(body).toString() }
}

export function setOf(mutation: HeaderMutation | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries(
    (mutation?.setHeaders ?? []).map(({ header }) => [header!.key, Buffer.from(header!.rawValue).toString()]),
  )
}

/** The ordered endpoints of an answer, which header and metadata must name alike; empty: it is a refusal. */
export function endpointsOf({ set, metadata, refusal }: Answer): readonly string[] {
  if (refusal !== undefined) return []
  const header = set['x-gateway-destination-endpoint']!
  const lb = metadata['envoy.lb'] as JsonObject | undefined
  expect(lb?.['x-gateway-destination-endpoint']).toBe(header)
  return header.split(',')
}

/** The first of them, or the status of a refusal. */
export function destination(answer: Answer): string | number {
  return answer.refusal?.status ?? endpointsOf(answer)[0]!
}
