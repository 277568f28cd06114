/** Builds the messages of one gRPC stream: what goes with the first one, and with the first of each direction. */
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf'
import type { ProcessingRequestSchema } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import type { ExtProcSettings } from './ext-proc-settings.ts'
import type { HeaderList } from './header-list.ts'

export type ProcessingMessage = MessageInitShape<typeof ProcessingRequestSchema>

type Kind = 'request' | 'response'

export interface MessageSource {
  readonly metadata: ReadonlyMap<string, JsonObject>
  attributes(names: readonly string[]): JsonObject
}

export class MessageBuilder {
  readonly #settings: ExtProcSettings
  readonly #source: MessageSource
  #first = true
  readonly #attributesSent = { request: false, response: false }

  constructor(settings: ExtProcSettings, source: MessageSource) {
    this.#settings = settings
    this.#source = source
  }

  headers(kind: Kind, headers: HeaderList, endOfStream: boolean): ProcessingMessage {
    const value = { headers: this.#headerMap(headers), endOfStream }
    return this.#message(kind, { case: kind === 'request' ? 'requestHeaders' : 'responseHeaders', value })
  }

  body(kind: Kind, body: Uint8Array, endOfStream: boolean): ProcessingMessage {
    return this.#message(kind, {
      case: kind === 'request' ? 'requestBody' : 'responseBody',
      value: { body, endOfStream },
    })
  }

  trailers(kind: Kind, trailers: HeaderList): ProcessingMessage {
    const value = { trailers: this.#headerMap(trailers) }
    return this.#message(kind, { case: kind === 'request' ? 'requestTrailers' : 'responseTrailers', value })
  }

  #message(kind: Kind, request: NonNullable<ProcessingMessage['request']>): ProcessingMessage {
    const settings = this.#settings
    const message: ProcessingMessage = { request, observabilityMode: settings.observability }
    if (this.#first && !settings.observability)
      message.protocolConfig = {
        requestBodyMode: settings.modes.request.body,
        responseBodyMode: settings.modes.response.body,
        sendBodyWithoutWaitingForHeaderResponse: settings.nowait,
      }
    this.#first = false
    if (!this.#attributesSent[kind]) {
      this.#attributesSent[kind] = true
      const names = kind === 'request' ? settings.requestAttributes : settings.responseAttributes
      if (names.length > 0) message.attributes = { 'envoy.filters.http.ext_proc': this.#source.attributes(names) }
    }
    const filterMetadata: Record<string, JsonObject> = {}
    for (const namespace of settings.forwardingNamespaces) {
      const values = this.#source.metadata.get(namespace)
      if (values !== undefined) filterMetadata[namespace] = values
    }
    if (Object.keys(filterMetadata).length > 0) message.metadataContext = { filterMetadata }
    return message
  }

  #headerMap(headers: HeaderList): { headers: { key: string; rawValue: Uint8Array }[] } {
    const list: { key: string; rawValue: Uint8Array }[] = []
    for (const [key, value] of headers)
      if (this.#settings.forwards(key)) list.push({ key, rawValue: Buffer.from(value, 'latin1') })
    return { headers: list }
  }
}
