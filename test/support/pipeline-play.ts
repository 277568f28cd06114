/** Plans and played requests for this folder's tests. */
import type { JsonObject } from '@bufbuild/protobuf'
import { LocalPlan } from './local-plan.ts'
import { ScriptedEnvoy } from './ext-proc-script.ts'
import { BodyMode } from '../../src/extproc/modes.ts'
import { ExtProcService } from '../../src/extproc/service.ts'
import type { BodyResponse } from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import type { ReleaseBy } from '../../src/inference/endpoint-table.ts'
import type { PoolPlan } from '../../src/inference/pool-plan.ts'
import { poolPlan } from '../../src/inference/testing.ts'
import { Outcomes, OutcomeTotals } from '../../src/pipeline/outcomes.ts'
import {
  ENTRY_METADATA,
  type EntryPlan,
  type Plan,
  type RulePlan,
  ANSWERED_RECORD,
  TARGET_HEADER,
  type TargetPlan,
} from '../../src/pipeline/plan.ts'

export function pool(name: string, addresses: readonly string[], changes: Partial<PoolPlan> = {}): PoolPlan {
  return { ...poolPlan(addresses), name, cluster: `pool/${name}`, ...changes }
}

export function target(id: string, changes: Partial<TargetPlan> = {}): TargetPlan {
  return { id, weight: 1, cluster: `cluster/${id}`, ...changes }
}

export function rule(name: string, changes: Partial<RulePlan> = {}): RulePlan {
  return { name, headers: [], query: [], targets: [target(name)], ...changes }
}

export function entry(rules: readonly RulePlan[], changes: Partial<EntryPlan> = {}): EntryPlan {
  return {
    id: 'entry@1',
    name: 'entry',
    attach: 'fleet',
    followResponse: false,
    body: 'look',
    model: 'first',
    prefixBytes: 0,
    maxBodyBytes: 1024 * 1024,
    retryBufferBytes: 0,
    messageTimeoutMs: 1000,
    uploadTimeoutMs: 10_000,
    uploadIdleMs: 30_000,
    rules,
    listModels: false,
    ...changes,
  }
}

export function model(value: string, type: 'exact' | 'regex' = 'exact') {
  return { name: 'x-gateway-model-name', type, value }
}

export function plan(entries: readonly EntryPlan[], pools: readonly PoolPlan[], changes: Partial<Plan> = {}): Plan {
  return {
    version: '1',
    routing: { modelHeader: 'x-gateway-model-name', baseModelHeader: 'x-gateway-base-model-name', baseModels: {} },
    entries,
    pools,
    ...changes,
  }
}

export interface Request {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Absent: the headers are the end. */
  readonly body?: string | Uint8Array
  /** Bytes a chunk; 0 = one chunk. */
  readonly chunk?: number
  /** `look` (the default), `duplex`, or `none`. */
  readonly mode?: 'look' | 'duplex' | 'none'
  /** Subset hint in the metadata. */
  readonly subset?: string
  readonly entry?: string
}

/** What a request got, readable. */
export interface Reply {
  /** Value of the target header, or the status of an answer of ours. */
  readonly to: string | number
  readonly set: Readonly<Record<string, string>>
  readonly removed: readonly string[]
  /** Without the mark of our own answers. */
  readonly record: Readonly<Record<string, string>>
  /** What Envoy knows an answer of ours by. */
  readonly answered: string | undefined
  readonly endpoints: string | undefined
  /** The body as the upstream gets it (mode `none` aside), or that of our own answer. */
  readonly body: string
  readonly error: { readonly code: string; readonly message: string } | undefined
  readonly grpcStatus: number | undefined
}

const MODES = { look: BodyMode.STREAMED, duplex: BodyMode.FULL_DUPLEX_STREAMED, none: BodyMode.NONE }

/** A linked plan behind an ext_proc service, without a network. */
export class Play {
  readonly outcomes: OutcomeTotals
  readonly linked: LocalPlan
  readonly service: ExtProcService
  random = 0
  now = 0

  constructor(first: Plan, releaseBy: ReleaseBy = 'response') {
    const outcomes = new Outcomes()
    this.outcomes = new OutcomeTotals([outcomes.memory])
    this.linked = new LocalPlan({
      outcomes,
      nowMs: () => 1000,
      random: () => this.random,
      pool: { releaseBy },
    })
    this.linked.update(first)
    this.service = new ExtProcService({
      decider: headers => this.linked.entry(headers[ENTRY_METADATA] as string | undefined),
      retainsParts: false,
      now: () => this.now,
    })
  }

  /** Opens a stream and sends the request's headers. */
  open({ method = 'POST', path = '/v1/chat/completions', mode = 'look', ...request }: Request): ScriptedEnvoy {
    const id = request.entry ?? 'entry@1'
    const envoy = new ScriptedEnvoy(this.service, 0, id === '' ? {} : { [ENTRY_METADATA]: id })
    const headers = Object.entries({ ':method': method, ':path': path, ...request.headers }).map(([key, value]) => ({
      key,
      rawValue: Buffer.from(value),
    }))
    envoy.sends({
      request: {
        case: 'requestHeaders',
        value: { headers: { headers }, endOfStream: request.body === undefined },
      },
      protocolConfig: {
        requestBodyMode: MODES[mode],
        responseBodyMode: BodyMode.NONE,
        sendBodyWithoutWaitingForHeaderResponse: mode === 'look',
      },
      ...(request.subset === undefined
        ? {}
        : {
            metadataContext: {
              filterMetadata: {
                'envoy.lb.subset_hint': { 'x-gateway-destination-endpoint-subset': request.subset },
              },
            },
          }),
    })
    return envoy
  }

  /** Plays a request to the end of its body. */
  send(request: Request): Reply {
    const envoy = this.open(request)
    const { body, chunk = 0, mode = 'look' } = request
    const bytes = Buffer.from(body ?? '')
    const chunks: Buffer[] = []
    if (body !== undefined && mode !== 'none') {
      const step = chunk === 0 ? Math.max(1, bytes.length) : chunk
      let at = 0
      do {
        const end = Math.min(bytes.length, at + step)
        const chunk = bytes.subarray(at, end)
        chunks.push(chunk)
        // After the end of the stream Envoy sends the rest by itself.
        if (envoy.stream.ended === undefined) sendBody(envoy, chunk, end === bytes.length)
        at = end
      } while (at < bytes.length)
    }
    const reply = readReply(envoy, mode === 'look' ? chunks : [])
    envoy.resets()
    return reply
  }

  inFlight(name: string): number {
    return this.linked.pools
      .get(name)!
      .snapshot()
      .reduce((sum, { inFlight }) => sum + inFlight, 0)
  }
}

export function sendBody(envoy: ScriptedEnvoy, bytes: string | Uint8Array, endOfStream: boolean): void {
  envoy.sends({ request: { case: 'requestBody', value: { body: Buffer.from(bytes), endOfStream } } })
}

/** `chunks`: those of look mode, of which only the changed ones come back. */
export function readReply(envoy: ScriptedEnvoy, chunks: readonly Buffer[] = []): Reply {
  const messages = envoy.receives()
  const set: Record<string, string> = {}
  const removed: string[] = []
  let status: number | undefined
  let error: Reply['error']
  const forwarded: Uint8Array[] = []
  let body: string | undefined
  let metadata: JsonObject = {}
  for (const message of messages) {
    metadata = { ...metadata, ...message.dynamicMetadata }
    const { response } = message
    if (response.case === 'requestHeaders') {
      const mutation = response.value.response?.headerMutation
      for (const { header } of mutation?.setHeaders ?? []) set[header!.key] = Buffer.from(header!.rawValue).toString()
      removed.push(...(mutation?.removeHeaders ?? []))
    } else if (response.case === 'immediateResponse') {
      status = response.value.status!.code
      for (const { header } of response.value.headers?.setHeaders ?? [])
        set[header!.key] = Buffer.from(header!.rawValue).toString()
      body = Buffer.from(response.value.body).toString()
      error = status === 200 ? undefined : (JSON.parse(body) as { error: NonNullable<Reply['error']> }).error
    }
    if (response.case === 'requestBody') forwarded.push(changedBytes(response.value) ?? chunks[forwarded.length]!)
  }
  forwarded.push(...chunks.slice(forwarded.length))
  const { [ANSWERED_RECORD]: answered, ...record } = (metadata['signalbox'] ?? {}) as Record<string, string>
  return {
    to: status ?? set[TARGET_HEADER] ?? '',
    set,
    removed,
    record,
    answered,
    endpoints: ((metadata['envoy.lb'] ?? {}) as Record<string, string>)['x-gateway-destination-endpoint'],
    body: body ?? Buffer.concat(forwarded).toString(),
    error,
    grpcStatus: envoy.stream.ended?.status,
  }
}

/** Undefined: the chunk stays as it was. */
function changedBytes({ response }: BodyResponse): Uint8Array | undefined {
  const mutation = response?.bodyMutation?.mutation
  if (mutation?.case === 'body') return mutation.value
  if (mutation?.case === 'clearBody') return Buffer.alloc(0)
  return mutation?.case === 'streamedResponse' ? mutation.value.body : undefined
}
