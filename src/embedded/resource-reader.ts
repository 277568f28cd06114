/**
 * From the protobuf JSON of compiled Envoy resources to typed messages, with a list of everything that the embedded data plane
 * cannot do: a field that is set and would be ignored is a problem, never a silent no.
 */
import {
  createRegistry,
  type DescMessage,
  fromJson,
  type JsonValue,
  type Message,
  type MessageShape,
} from '@bufbuild/protobuf'
import { type GenMessage } from '@bufbuild/protobuf/codegenv2'
import { reflect } from '@bufbuild/protobuf/reflect'
import { type Any, anyUnpack, type Duration } from '@bufbuild/protobuf/wkt'
import { ClusterSchema } from '../gen/envoy/config/cluster/v3/cluster_pb.ts'
import { FileAccessLogSchema } from '../gen/envoy/extensions/access_loggers/file/v3/file_pb.ts'
import { HttpGrpcAccessLogConfigSchema } from '../gen/envoy/extensions/access_loggers/grpc/v3/als_pb.ts'
import {
  StderrAccessLogSchema,
  StdoutAccessLogSchema,
} from '../gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts'
import {
  ExternalProcessorSchema,
  ExtProcPerRouteSchema,
} from '../gen/envoy/extensions/filters/http/ext_proc/v3/ext_proc_pb.ts'
import { RouterSchema } from '../gen/envoy/extensions/filters/http/router/v3/router_pb.ts'
import { TlsInspectorSchema } from '../gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts'
import { HttpConnectionManagerSchema } from '../gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts'
import { HeaderMutationSchema } from '../gen/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.ts'
import { LeastRequestSchema } from '../gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts'
import { OverrideHostSchema } from '../gen/envoy/extensions/load_balancing_policies/override_host/v3/override_host_pb.ts'
import { RoundRobinSchema } from '../gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts'
import { SubsetSchema } from '../gen/envoy/extensions/load_balancing_policies/subset/v3/subset_pb.ts'
import { PreviousHostsPredicateSchema } from '../gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts'
import {
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from '../gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { HttpProtocolOptionsSchema } from '../gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts'
import { TypedStructSchema } from '../gen/xds/type/v3/typed_struct_pb.ts'

const registry = createRegistry(
  ClusterSchema,
  DownstreamTlsContextSchema,
  ExternalProcessorSchema,
  ExtProcPerRouteSchema,
  FileAccessLogSchema,
  HeaderMutationSchema,
  HttpConnectionManagerSchema,
  HttpGrpcAccessLogConfigSchema,
  HttpProtocolOptionsSchema,
  LeastRequestSchema,
  OverrideHostSchema,
  PreviousHostsPredicateSchema,
  RoundRobinSchema,
  RouterSchema,
  StderrAccessLogSchema,
  StdoutAccessLogSchema,
  SubsetSchema,
  TlsInspectorSchema,
  TypedStructSchema,
  UpstreamTlsContextSchema,
)

/** The embedded data plane cannot serve these resources; nothing of them is applied. */
class EmbeddedConfigurationError extends Error {
  readonly code = 'EMBEDDED_CONFIGURATION'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(`the embedded data plane cannot serve this configuration:\n  ${problems.join('\n  ')}`)
    this.name = 'EmbeddedConfigurationError'
    this.problems = problems
  }
}

/** Collects problems while reading; each text starts with the path of its resource. */
export class Problems {
  readonly all: string[] = []

  add(path: string, text: string): void {
    this.all.push(`${path}: ${text}`)
  }

  /** Every set field that is neither read (`served`) nor without effect here (`harmless`) is a problem. */
  unsupported<Desc extends DescMessage>(
    path: string,
    schema: Desc,
    message: MessageShape<Desc>,
    known: readonly (keyof MessageShape<Desc> | string)[],
  ): void {
    const view = reflect(schema, message, false)
    for (const field of schema.fields) {
      const name = field.oneof === undefined ? field.localName : field.oneof.localName
      if (view.isSet(field) && !known.includes(name)) this.add(path, `${field.name} is not served`)
    }
  }

  throwIfAny(): void {
    if (this.all.length > 0) throw new EmbeddedConfigurationError(this.all)
  }
}

/** Path of a resource in texts: `cluster u1`. */
export function pathOf(kind: string, name: JsonValue | undefined): string {
  return `${kind} ${typeof name === 'string' ? name : '(without a name)'}`
}

/** Undefined with a problem when the JSON is not a message of this type. `secret`: the problem must not quote any of it. */
export function readResource<T extends Message>(
  path: string,
  schema: GenMessage<T>,
  json: JsonValue,
  problems: Problems,
  secret = false,
): T | undefined {
  try {
    return fromJson(schema, json, { registry })
  } catch (error) {
    problems.add(path, error instanceof Error && !secret ? error.message : `not a valid ${schema.typeName}`)
    return undefined
  }
}

/** The message within an Any, whatever known type it is. */
export function unpack(any: Any | undefined): Message | undefined {
  return any === undefined ? undefined : anyUnpack(any, registry)
}

/** The message within an Any of one type, undefined for any other. */
export function unpackAs<T extends Message>(any: Any | undefined, schema: GenMessage<T>): T | undefined {
  return any === undefined ? undefined : anyUnpack(any, schema)
}

export function milliseconds(duration: Duration | undefined, otherwise: number): number {
  return duration === undefined ? otherwise : Number(duration.seconds) * 1000 + duration.nanos / 1e6
}
