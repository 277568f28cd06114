import type { DescMessage, JsonObject, MessageJsonType } from '@bufbuild/protobuf'
import type { AnyJson } from '@bufbuild/protobuf/wkt'
import type { ConfigSourceJson } from '../../gen/envoy/config/core/v3/config_source_pb.ts'
import type { HeaderValueOptionJson } from '../../gen/envoy/config/core/v3/base_pb.ts'

/** A `google.protobuf.Any` in JSON. The schema gives the type URL and checks the fields; nothing is encoded here. */
export function pack<Desc extends DescMessage>(schema: Desc, message: MessageJsonType<Desc>): AnyJson {
  return { '@type': `type.googleapis.com/${schema.typeName}`, ...(message as JsonObject) }
}

/** Milliseconds as a protobuf duration. */
export function seconds(ms: number): string {
  return `${ms / 1000}s`
}

/** "From the stream that this resource came by." */
export const OVER_ADS: ConfigSourceJson = { ads: {}, resourceApiVersion: 'V3' }

export function setHeader(key: string, value: string): HeaderValueOptionJson {
  return { header: { key, value }, appendAction: 'OVERWRITE_IF_EXISTS_OR_ADD', keepEmptyValue: true }
}

export function addHeader(key: string, value: string): HeaderValueOptionJson {
  return { header: { key, value }, appendAction: 'APPEND_IF_EXISTS_OR_ADD', keepEmptyValue: true }
}

/** Text for a place where Envoy expands `%COMMAND%`s. */
export function literal(text: string): string {
  return text.replaceAll('%', '%%')
}
