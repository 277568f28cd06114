import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import {
  ProcessingRequestSchema,
  type ProcessingResponse,
  ProcessingResponseSchema,
} from '../../src/gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
} from '../../src/gen/grpc/health/v1/health_pb.ts'

const PROCESS = '/envoy.service.ext_proc.v3.ExternalProcessor/Process'
const HEALTH = '/grpc.health.v1.Health/Check'
const DEADLINE_MS = 30_000

export interface PickOptions {
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  /** `metadata_context.filter_metadata`: strings by namespace and key. */
  readonly metadata?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** `attributes`, as Envoy's filter sends them. */
  readonly attributes?: Readonly<Record<string, string>>
  /** gRPC initial metadata. */
  readonly call?: Readonly<Record<string, string>>
  /** Makes it a POST with this JSON. */
  readonly body?: string
}

/** What a picker answered to the headers of a request without a body: the endpoints, a status of its own, or how the call failed. */
export interface Picked {
  readonly endpoints?: string | undefined
  /** Of requests with a body: the model that the gateway is told. */
  readonly model?: string | undefined
  readonly status?: number
  readonly body?: string
  readonly failure?: string
}

/** A gateway's gRPC client to an endpoint picker. */
export class PickerClient {
  readonly #client: Client

  constructor(address: string, options: { readonly tls?: boolean; readonly authority?: string } = {}) {
    const secure = options.tls === true
    this.#client = new Client(
      address,
      secure
        ? credentials.createSsl(null, null, null, { rejectUnauthorized: false, checkServerIdentity: () => undefined })
        : credentials.createInsecure(),
      options.authority === undefined ? {} : { 'grpc.default_authority': options.authority },
    )
  }

  close(): void {
    this.#client.close()
  }

  /** `SERVING`, `NOT_SERVING`, or the error's text. */
  async health(service: string): Promise<string> {
    return await new Promise(resolve => {
      this.#client.makeUnaryRequest(
        HEALTH,
        (name: string) =>
          Buffer.from(toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service: name }))),
        (bytes: Buffer) =>
          fromBinary(HealthCheckResponseSchema, bytes).status === Serving.SERVING ? 'SERVING' : 'NOT_SERVING',
        service,
        new Metadata(),
        { deadline: Date.now() + DEADLINE_MS },
        (error: ServiceError | null, status?: string) => resolve(error?.details ?? status ?? ''),
      )
    })
  }

  /** Asks where a request goes: a GET without a body, unless there is one. */
  async pick({
    path = '/v1/models',
    headers = {},
    metadata = {},
    attributes,
    call = {},
    body,
  }: PickOptions = {}): Promise<Picked> {
    const grpc = new Metadata()
    for (const [name, value] of Object.entries(call)) grpc.set(name, value)
    const stream = this.#client.makeBidiStreamRequest(
      PROCESS,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => fromBinary(ProcessingResponseSchema, bytes),
      grpc,
      { deadline: Date.now() + DEADLINE_MS },
    )
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    const method = body === undefined ? 'GET' : 'POST'
    const all = { ':method': method, ':path': path, ':authority': 'test', ...type, ...headers }
    const request: MessageInitShape<typeof ProcessingRequestSchema> = {
      request: {
        case: 'requestHeaders',
        value: {
          headers: {
            headers: Object.entries(all).map(([key, value]) => ({ key, rawValue: Buffer.from(value) })),
          },
          endOfStream: body === undefined,
        },
      },
      metadataContext: { filterMetadata: metadata },
      ...(attributes === undefined ? {} : { attributes: { 'envoy.filters.http.ext_proc': attributes } }),
    }
    return await new Promise(resolve => {
      stream.on('data', (answer: ProcessingResponse) => {
        resolve(read(answer, body !== undefined))
        stream.cancel()
      })
      stream.on('error', (error: ServiceError) => resolve({ failure: error.details }))
      stream.on('end', () => resolve({ failure: 'ended' }))
      const send = (message: MessageInitShape<typeof ProcessingRequestSchema>) =>
        stream.write(Buffer.from(toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, message))))
      send(request)
      if (body === undefined) return
      send({ request: { case: 'requestBody', value: { body: Buffer.from(body), endOfStream: true } } })
    })
  }
}

function read({ response }: ProcessingResponse, tellsModel: boolean): Picked {
  if (response.case === 'immediateResponse')
    return { status: Number(response.value.status?.code), body: Buffer.from(response.value.body).toString() }
  if (response.case !== 'requestHeaders') return { failure: `${response.case}` }
  const set = response.value.response?.headerMutation?.setHeaders ?? []
  const valueOf = (name: string) => {
    const header = set.find(option => option.header?.key === name)?.header
    return header === undefined ? undefined : Buffer.from(header.rawValue).toString()
  }
  const endpoints = valueOf('x-gateway-destination-endpoint')
  return tellsModel ? { endpoints, model: valueOf('x-gateway-model-name') } : { endpoints }
}
