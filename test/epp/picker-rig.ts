/**
 * Signalbox as an endpoint picker, from its configuration files to the bytes on an ext_proc stream, with endpoints whose metrics are scripted
 * and without a network. The other side is strict: it sends what a gateway in full duplex sends, and throws at the first answer that
 * a gateway would not take.
 */
import { expect } from '@jest/globals'
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf'
import { compileSet } from '../../src/compile/compile.ts'
import { readTexts } from '../../src/config/object-set.ts'
import { formatProblem } from '../../src/config/problem.ts'
import { BodyMode } from '../../src/extproc/modes.ts'
import { ExtProcService } from '../../src/extproc/service.ts'
import type {
  HeaderMutation,
  ImmediateResponse,
  ProcessingRequestSchema,
  ProcessingResponse,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { adapterId } from '../../src/inference/adapter-id.ts'
import { scrape } from '../../src/inference/testing.ts'
import { DecisionRecords, type RecordOptions } from '../../src/pipeline/decision-records.ts'
import type { Observers } from '../../src/pipeline/observers.ts'
import type { Plan } from '../../src/pipeline/plan.ts'
import { Outcomes, OutcomeTotals } from '../../src/pipeline/outcomes.ts'
import { ScriptedEnvoy } from '../support/ext-proc-script.ts'
import { LocalPlan } from '../support/local-plan.ts'

/** Endpoint i is 192.168.1.(i + 1):8000. */
export const address = (i: number): string => `192.168.1.${i + 1}:8000`

export interface PodState {
  readonly queue: number
  readonly kv: number
  readonly adapters?: readonly string[]
}

/** P(i, q, kv, models…) of epp.md §8.1. */
export function pod(queue: number, kv: number, ...adapters: readonly string[]): PodState {
  return { queue, kv, adapters }
}

/** Profile of epp.md §8.1. */
export const HERMETIC = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: lora-affinity-scorer
- type: max-score-picker
`

export interface Call {
  readonly method?: string
  /** undefined: the gateway sends none. */
  readonly path?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  /** Absent: the headers are the end. */
  readonly body?: string | readonly (string | Buffer)[]
  /** Of the headers message. */
  readonly metadata?: Readonly<Record<string, JsonObject>>
  /** Of the body messages. */
  readonly bodyMetadata?: Readonly<Record<string, JsonObject>>
  /** The body ends with trailers instead of an end of stream. */
  readonly trailers?: boolean
}

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

const NOW = 1_000_000

export class PickerRig {
  readonly outcomes: OutcomeTotals
  /** What `plan` was made with; tests change it. */
  readonly compiled: Plan
  readonly plan: LocalPlan
  readonly service: ExtProcService
  now = NOW

  /** Lines of the trace. */
  readonly trace: string[] = []

  constructor(
    pods: readonly PodState[],
    config = HERMETIC,
    more = '',
    records?: RecordOptions,
    annotations: Readonly<Record<string, string>> = {},
    observers?: Observers,
  ) {
    const noted = JSON.stringify({ 'signalbox.dev/unknown-models': 'Forward', ...annotations })
    const text = `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: pool, annotations: ${noted} }
spec: { selector: { matchLabels: { app: x } }, targetPorts: [{ number: 8000 }] }
---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: backend, labels: { app: x } }
spec: { endpoints: [${pods.map((_, i) => `{ address: 192.168.1.${i + 1}, port: 8000 }`).join(', ')}] }
---
${config}
---
${more}`
    const set = readTexts([
      {
        file: 'picker.yaml',
        text: pods.length > 0 ? text : text.replace(/---\napiVersion: signalbox[^]*?---\n/, '---\n'),
      },
    ])
    const compiled = compileSet(set, { extProc: { addresses: ['127.0.0.1:1'] }, defaultPool: 'default/pool' })
    expect(compiled.errors.map(formatProblem)).toEqual([])
    const outcomes = new Outcomes()
    this.outcomes = new OutcomeTotals([outcomes.memory])
    const made = records && {
      records: new DecisionRecords(
        records,
        () => 0.5,
        line => this.trace.push(line),
      ),
    }
    this.plan = new LocalPlan({
      ...made,
      observers,
      outcomes,
      nowMs: () => this.now,
      random: () => 0,
      pool: { releaseBy: 'response' },
    })
    this.compiled = compiled.plan
    this.plan.update(compiled.plan)
    this.service = new ExtProcService({ decider: () => this.plan.entry(undefined), retainsParts: false })
    this.scrape(pods)
  }

  /** What the endpoints say of themselves from now on. */
  scrape(pods: readonly PodState[]): void {
    const pool = this.plan.pools.get('default/pool')!
    for (const [i, { queue, kv, adapters = [] }] of pods.entries()) {
      const ids = new Int32Array(64)
      ids.set(adapters.map(adapterId))
      const page = {
        waiting: queue,
        running: 0,
        kvUsage: kv,
        maxLora: 2,
        runningAdapters: adapters.length,
        adapters: ids,
      }
      scrape(pool, pool.table.slotOf(address(i))!, page, this.now)
    }
  }

  open(call: Call, responseMode: BodyMode = BodyMode.FULL_DUPLEX_STREAMED): Session {
    const session = new Session(this.service, call, responseMode)
    // It must be there at once.
    expect(session.answer).toBeDefined()
    return session
  }

  /** A request that may have to wait: its answer is only looked at when somebody asks for it. */
  begin(call: Call): Session {
    return new Session(this.service, call, BodyMode.FULL_DUPLEX_STREAMED)
  }

  send(call: Call): Answer {
    return this.open(call).answer
  }

  get inFlight(): number {
    return this.plan.pools
      .get('default/pool')!
      .snapshot()
      .reduce((sum, { inFlight }) => sum + inFlight, 0)
  }
}

type Message = MessageInitShape<typeof ProcessingRequestSchema>

/** One request, sent to the end of its body. */
export class Session {
  readonly #envoy: ScriptedEnvoy
  readonly #call: Call
  readonly #received: ProcessingResponse[] = []
  #answer: Answer | undefined

  constructor(service: ExtProcService, call: Call, responseMode: BodyMode) {
    const envoy = new ScriptedEnvoy(service)
    this.#envoy = envoy
    this.#call = call
    const { method = call.body === undefined ? 'GET' : 'POST' } = call
    const path = 'path' in call ? call.path : '/v1/completions'
    const chunks = call.body === undefined ? [] : typeof call.body === 'string' ? [call.body] : call.body
    const headers = headerList({ ':method': method, ...(path === undefined ? {} : { ':path': path }), ...call.headers })
    const messages: Message[] = [
      {
        request: {
          case: 'requestHeaders',
          value: { headers: { headers }, endOfStream: call.body === undefined && call.trailers !== true },
        },
        protocolConfig: { requestBodyMode: BodyMode.FULL_DUPLEX_STREAMED, responseBodyMode: responseMode },
        ...context(call.metadata),
      },
      ...chunks.map(
        (chunk, i): Message => ({
          request: {
            case: 'requestBody',
            value: { body: Buffer.from(chunk), endOfStream: i === chunks.length - 1 && call.trailers !== true },
          },
          ...context(call.bodyMetadata),
        }),
      ),
      ...(call.trailers === true
        ? [{ request: { case: 'requestTrailers', value: { trailers: { headers: [] } } } } satisfies Message]
        : []),
    ]
    for (const message of messages) {
      // After an answer of ours, or an end, a gateway says no more of the request.
      if (envoy.stream.ended !== undefined) break
      envoy.sends(message)
      this.#received.push(...envoy.receives())
    }
  }

  /** Something has been answered. */
  get isAnswered(): boolean {
    this.#received.push(...this.#envoy.receives())
    return this.#received.length > 0
  }

  /** To the request; all of it must be there. */
  get answer(): Answer {
    return (this.#answer ??= readAnswer(this.isAnswered ? this.#received : [], this.#call))
  }

  /** What takes back an answer that sent it on; undefined: nothing has yet. */
  get revocation(): Answer['refusal'] {
    const [message, ...others] = this.#envoy.receives()
    expect(others).toEqual([])
    return message?.response.case === 'immediateResponse' ? refusalOf(message.response.value) : undefined
  }

  /** The response, as far as the gateway still asks; what the client gets. */
  respond(
    headers: Readonly<Record<string, string>>,
    chunks: readonly (string | Buffer)[],
    options: { readonly metadata?: Readonly<Record<string, JsonObject>>; readonly trailers?: boolean } = {},
  ): {
    /** Response headers that were set. */
    readonly set: Readonly<Record<string, string>>
    readonly pieces: readonly string[]
    readonly ended: boolean
    readonly trailers: boolean
    readonly metadata: JsonObject
  } {
    const envoy = this.#envoy
    envoy.sends({
      request: {
        case: 'responseHeaders',
        value: {
          headers: { headers: headerList(headers) },
          endOfStream: chunks.length === 0 && options.trailers !== true,
        },
      },
      ...context(options.metadata),
    })
    const [first, ...others] = envoy.receives()
    expect(first?.response.case).toBe('responseHeaders')
    expect(others).toEqual([])
    const set = first?.response.case === 'responseHeaders' ? setOf(first.response.value.response?.headerMutation) : {}
    const pieces: string[] = []
    let ended = false
    let trailers = false
    let metadata: JsonObject = {}
    for (const [i, chunk] of chunks.entries()) {
      const endOfStream = i === chunks.length - 1 && options.trailers !== true
      envoy.sends({ request: { case: 'responseBody', value: { body: Buffer.from(chunk), endOfStream } } })
      let piece = ''
      for (const message of envoy.receives()) {
        expect(ended).toBe(false)
        expect(message.response.case).toBe('responseBody')
        metadata = { ...metadata, ...message.dynamicMetadata }
        if (message.response.case !== 'responseBody') continue
        const mutation = message.response.value.response?.bodyMutation?.mutation
        if (mutation?.case === 'streamedResponse') {
          piece += Buffer.from(mutation.value.body).toString()
          ended = mutation.value.endOfStream
        } else if (mutation?.case === 'body') piece += Buffer.from(mutation.value).toString()
        else piece += chunk.toString()
      }
      pieces.push(piece)
    }
    if (options.trailers === true) {
      envoy.sends({ request: { case: 'responseTrailers', value: { trailers: { headers: [] } } } })
      for (const message of envoy.receives()) {
        metadata = { ...metadata, ...message.dynamicMetadata }
        const { response } = message
        expect(trailers).toBe(false)
        if (response.case === 'responseTrailers') trailers = true
        else if (response.case === 'responseBody') {
          const mutation = response.value.response?.bodyMutation?.mutation
          if (mutation?.case === 'streamedResponse') pieces.push(Buffer.from(mutation.value.body).toString())
        }
      }
    }
    return { set, pieces, ended, trailers, metadata }
  }

  /** The response's headers alone; `piece` goes on. */
  startResponse(headers: Readonly<Record<string, string>>): void {
    this.#envoy.sends({ request: { case: 'responseHeaders', value: { headers: { headers: headerList(headers) } } } })
    expect(this.#envoy.receives()).toHaveLength(1)
  }

  piece(text: string, endOfStream = false): void {
    this.#envoy.sends({ request: { case: 'responseBody', value: { body: Buffer.from(text), endOfStream } } })
    this.#envoy.receives()
  }

  /** The gateway ends the stream. */
  close(): void {
    this.#envoy.resets()
  }
}

function readAnswer(messages: readonly ProcessingResponse[], call: Call): Answer {
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

function refusalOf({ status, headers, body }: ImmediateResponse): Answer['refusal'] {
  return { status: status!.code, headers: setOf(headers), body: Buffer.from(body).toString() }
}

function setOf(mutation: HeaderMutation | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries(
    (mutation?.setHeaders ?? []).map(({ header }) => [header!.key, Buffer.from(header!.rawValue).toString()]),
  )
}

function headerList(headers: Readonly<Record<string, string>>) {
  return Object.entries(headers).map(([key, value]) => ({ key, rawValue: Buffer.from(value) }))
}

function context(metadata: Readonly<Record<string, JsonObject>> | undefined): Pick<Message, 'metadataContext'> {
  return metadata === undefined ? {} : { metadataContext: { filterMetadata: metadata } }
}

/** The subset hint as metadata. */
export function subset(value: JsonObject[string]): Readonly<Record<string, JsonObject>> {
  return { 'envoy.lb.subset_hint': { 'x-gateway-destination-endpoint-subset': value } }
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
