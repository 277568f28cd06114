/** For the tests here: an ext_proc server that answers by script, and the smallest configuration around it. */
import { create, fromBinary, type JsonObject, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import type { EnvoyResources } from '../config/envoy-resources.ts'
import {
  type ProcessingRequest,
  ProcessingRequestSchema,
  ProcessingResponseSchema,
} from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { type EmbeddedDataPlane, startEmbedded } from './embedded.ts'

export type Answer = MessageInitShape<typeof ProcessingResponseSchema>

/** One gRPC stream as a script sees it. */
export interface ScriptedCall {
  readonly metadata: Readonly<Record<string, string>>
  /** The next message; undefined once the client ended or reset the stream. */
  next(): Promise<ProcessingRequest | undefined>
  send(...answers: Answer[]): void
  /** Ends the stream with a status, default OK. */
  end(code?: number, message?: string): void
  /** Fulfilled when the stream is over. */
  readonly over: Promise<void>
}

export type CallScript = (call: ScriptedCall) => Promise<void>

export interface ScriptedProcessor {
  readonly port: number
  /** Words of all messages received, a list per stream. */
  readonly streams: readonly (readonly string[])[]
  script(script: CallScript): void
  close(): void
}

type Stream = ServerDuplexStream<ProcessingRequest, Answer>

export async function startScriptedProcessor(script: CallScript, port = 0): Promise<ScriptedProcessor> {
  let current = script
  const streams: string[][] = []
  const server = new Server({ 'grpc.max_receive_message_length': -1 })
  const definition = {
    Process: {
      path: '/envoy.service.ext_proc.v3.ExternalProcessor/Process',
      requestStream: true as const,
      responseStream: true as const,
      requestSerialize: (message: ProcessingRequest) => Buffer.from(toBinary(ProcessingRequestSchema, message)),
      requestDeserialize: (bytes: Buffer) => fromBinary(ProcessingRequestSchema, bytes),
      responseSerialize: (answer: Answer) =>
        Buffer.from(toBinary(ProcessingResponseSchema, create(ProcessingResponseSchema, answer))),
      responseDeserialize: (bytes: Buffer) => fromBinary(ProcessingResponseSchema, bytes) as Answer,
    },
  }
  server.addService(definition, {
    Process: (stream: Stream) => {
      const words: string[] = []
      streams.push(words)
      const call = scriptedCall(stream, words)
      current(call).catch((error: unknown) => call.end(13, String(error)))
    },
  })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
    error === null ? resolve(bound) : reject(error),
  )
  return {
    port: await promise,
    streams,
    script: next => {
      current = next
    },
    close: () => server.forceShutdown(),
  }
}

function scriptedCall(stream: Stream, words: string[]): ScriptedCall {
  const waiting: ((message: ProcessingRequest | undefined) => void)[] = []
  const arrived: ProcessingRequest[] = []
  const { promise: over, resolve: setOver } = Promise.withResolvers<void>()
  let ended = false
  const finish = (): void => {
    ended = true
    for (const give of waiting.splice(0)) give(undefined)
    setOver()
  }
  stream.on('data', (message: ProcessingRequest) => {
    words.push(word(message))
    const give = waiting.shift()
    if (give === undefined) arrived.push(message)
    else give(message)
  })
  stream.on('end', finish)
  stream.on('cancelled', finish)
  stream.on('error', finish)
  return {
    metadata: Object.fromEntries(
      Object.entries(stream.metadata.getMap()).map(([key, value]) => [key, value.toString()]),
    ),
    over,
    next: () => {
      const message = arrived.shift()
      if (message !== undefined || ended) return Promise.resolve(message)
      return new Promise(resolve => {
        waiting.push(resolve)
      })
    },
    send: (...answers) => {
      for (const answer of answers) stream.write(answer)
    },
    end: (code, message = '') => {
      if (code === undefined || code === 0) stream.end()
      else stream.emit('error', Object.assign(new Error(message), { code, details: message }))
    },
  }
}

/** `requestBody(5,end)`, `requestHeaders(end)` … */
export function word({ request }: ProcessingRequest): string {
  if (request.case === 'requestHeaders' || request.case === 'responseHeaders')
    return request.value.endOfStream ? `${request.case}(end)` : request.case
  if (request.case === 'requestBody' || request.case === 'responseBody')
    return `${request.case}(${request.value.body.length}${request.value.endOfStream ? ',end' : ''})`
  return request.case ?? 'nothing'
}

export function headerOf(message: ProcessingRequest | undefined, name: string): string | undefined {
  const { request } = message ?? {}
  if (request?.case !== 'requestHeaders' && request?.case !== 'responseHeaders') return undefined
  const header = request.value.headers?.headers.find(entry => entry.key === name)
  return header === undefined ? undefined : Buffer.from(header.rawValue).toString('latin1')
}

export function setHeaders(headers: Record<string, string>): { header: { key: string; rawValue: Uint8Array } }[] {
  return Object.entries(headers).map(([key, value]) => ({ header: { key, rawValue: Buffer.from(value, 'latin1') } }))
}

export interface PlaneOptions {
  /** Fields of the ext_proc filter; absent: no filter. */
  readonly extProc?: JsonObject
  readonly extProcPort?: number
  /** Overrides of the routes. */
  readonly perRoute?: JsonObject
  readonly backends: Readonly<Record<string, readonly number[]>>
  /** Merged into each cluster. */
  readonly cluster?: JsonObject
  readonly routes?: readonly JsonObject[]
  readonly manager?: JsonObject
  /** Write an access log, JSON lines. */
  readonly accessLog?: boolean
  /** Leave the processor's cluster without endpoints. */
  readonly noProcessor?: boolean
  readonly gracefulGrpcClose?: boolean
}

const TYPE = 'type.googleapis.com/envoy.extensions'
const HTTP2 = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
    explicitHttpConfig: { http2ProtocolOptions: {} },
  },
}
const HTTP1 = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
    explicitHttpConfig: { httpProtocolOptions: { enableTrailers: true } },
  },
}

export function assignment(clusterName: string, ports: readonly number[]): JsonObject {
  const lbEndpoints = ports.map(portValue => ({
    endpoint: { address: { socketAddress: { address: '127.0.0.1', portValue } } },
  }))
  return { clusterName, endpoints: [{ lbEndpoints }] }
}

export const OVERRIDE_HOST: JsonObject = {
  loadBalancingPolicy: {
    policies: [
      {
        typedExtensionConfig: {
          name: 'override',
          typedConfig: {
            '@type': `${TYPE}.load_balancing_policies.override_host.v3.OverrideHost`,
            overrideHostSources: [{ metadata: { key: 'envoy.lb', path: [{ key: 'x-gateway-destination-endpoint' }] } }],
            selectedHostKey: { key: 'envoy.lb', path: [{ key: 'served' }] },
            fallbackPolicy: {
              policies: [
                {
                  typedExtensionConfig: {
                    name: 'none',
                    typedConfig: {
                      '@type': `${TYPE}.load_balancing_policies.subset.v3.Subset`,
                      fallbackPolicy: 'NO_FALLBACK',
                      subsetSelectors: [{ keys: ['never'], fallbackPolicy: 'NO_FALLBACK' }],
                      subsetLbPolicy: {
                        policies: [
                          {
                            typedExtensionConfig: {
                              name: 'any',
                              typedConfig: { '@type': `${TYPE}.load_balancing_policies.round_robin.v3.RoundRobin` },
                            },
                          },
                        ],
                      },
                    },
                  },
                },
              ],
            },
          },
        },
      },
    ],
  },
}

/** Listener `l` on a free port; clusters by the names of `backends`; route `x-gateway-model-name: m2` → `u2`, everything else → `u1`. */
export function planeResources(options: PlaneOptions): EnvoyResources {
  const filters: JsonObject[] = []
  if (options.extProc !== undefined)
    filters.push({
      name: 'signalbox.ext_proc',
      typedConfig: {
        '@type': `${TYPE}.filters.http.ext_proc.v3.ExternalProcessor`,
        grpcService: { envoyGrpc: { clusterName: 'processor' } },
        messageTimeout: '5s',
        ...options.extProc,
      },
    })
  filters.push({ name: 'router', typedConfig: { '@type': `${TYPE}.filters.http.router.v3.Router` } })
  const perRoute =
    options.perRoute === undefined
      ? {}
      : {
          typedPerFilterConfig: {
            'signalbox.ext_proc': {
              '@type': `${TYPE}.filters.http.ext_proc.v3.ExtProcPerRoute`,
              overrides: options.perRoute,
            },
          },
        }
  const routes = options.routes ?? [
    {
      match: { prefix: '/', headers: [{ name: 'x-gateway-model-name', stringMatch: { exact: 'm2' } }] },
      route: { cluster: 'u2' },
      ...perRoute,
    },
    { match: { prefix: '/' }, route: { cluster: 'u1' }, ...perRoute },
  ]
  return {
    listeners: [
      {
        name: 'l',
        address: { socketAddress: { address: '127.0.0.1', portValue: 0 } },
        filterChains: [
          {
            filters: [
              {
                name: 'hcm',
                typedConfig: {
                  '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
                  statPrefix: 'test',
                  rds: { routeConfigName: 'r', configSource: { ads: {} } },
                  httpProtocolOptions: { enableTrailers: true },
                  accessLog:
                    options.accessLog !== true
                      ? []
                      : [
                          {
                            name: 'stdout',
                            typedConfig: {
                              '@type': `${TYPE}.access_loggers.stream.v3.StdoutAccessLog`,
                              logFormat: {
                                jsonFormat: {
                                  status: '%RESPONSE_CODE%',
                                  details: '%RESPONSE_CODE_DETAILS%',
                                  model: '%DYNAMIC_METADATA(signalbox:model)%',
                                  path: '%PATH(NQ:ORIG_OR_PATH)%',
                                  upstream: '%UPSTREAM_HOST%',
                                  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
                                },
                                omitEmptyValues: true,
                              },
                            },
                          },
                        ],
                  httpFilters: filters,
                  ...options.manager,
                },
              },
            ],
          },
        ],
      },
    ],
    routes: [{ name: 'r', virtualHosts: [{ name: 'all', domains: ['*'], routes: [...routes] }] }],
    clusters: [
      ...Object.keys(options.backends).map(
        (name): JsonObject => ({
          name,
          type: 'EDS',
          edsClusterConfig: { edsConfig: { ads: {} } },
          connectTimeout: '2s',
          typedExtensionProtocolOptions: HTTP1,
          ...options.cluster,
        }),
      ),
      {
        name: 'processor',
        type: 'STATIC',
        connectTimeout: '2s',
        loadAssignment: assignment(
          'processor',
          options.extProcPort === undefined || options.noProcessor === true ? [] : [options.extProcPort],
        ),
        typedExtensionProtocolOptions: HTTP2,
      },
    ],
    endpoints: Object.entries(options.backends).map(([name, ports]) => assignment(name, ports)),
    secrets: [],
    others: [],
  }
}

export const SILENT = { info: (): void => undefined, error: (): void => undefined }

/** A running proxy of either kind. */
export interface TestPlane {
  readonly port: number
  /** A counter by its name below `http.test.`. */
  readonly stat: (name: string) => Promise<number>
  /** Access log lines so far. */
  readonly lines: () => Promise<readonly string[]>
  readonly close: () => Promise<void>
}

export type PlaneStarter = (options: PlaneOptions) => Promise<TestPlane>

export function startPlane(options: PlaneOptions, accessLog?: (line: string) => void): Promise<EmbeddedDataPlane> {
  return startEmbedded({
    resources: planeResources(options),
    log: SILENT,
    ...(accessLog === undefined ? {} : { accessLog }),
    ...(options.gracefulGrpcClose === undefined ? {} : { gracefulGrpcClose: options.gracefulGrpcClose }),
  })
}

export const startEmbeddedPlane: PlaneStarter = async options => {
  const lines: string[] = []
  const plane = await startPlane(options, line => lines.push(line))
  return {
    port: portOf(plane),
    stat: name => Promise.resolve(plane.stats()[`http.test.${name}`] ?? 0),
    lines: () => Promise.resolve(lines),
    close: () => plane.close(0),
  }
}

export function portOf(plane: EmbeddedDataPlane): number {
  return plane.listeners[0]?.port ?? 0
}
