/** Descriptors of everything in `proto/`: these files and what they import. A test keeps the list complete. */
import type { DescFile, DescMessage } from '@bufbuild/protobuf'
import { file_envoy_config_bootstrap_v3_bootstrap } from '../gen/envoy/config/bootstrap/v3/bootstrap_pb.ts'
import { file_envoy_config_core_v3_resolver } from '../gen/envoy/config/core/v3/resolver_pb.ts'
import { file_envoy_extensions_access_loggers_file_v3_file } from '../gen/envoy/extensions/access_loggers/file/v3/file_pb.ts'
import { file_envoy_extensions_access_loggers_grpc_v3_als } from '../gen/envoy/extensions/access_loggers/grpc/v3/als_pb.ts'
import { file_envoy_extensions_access_loggers_stream_v3_stream } from '../gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts'
import { file_envoy_extensions_filters_http_ext_proc_v3_ext_proc } from '../gen/envoy/extensions/filters/http/ext_proc/v3/ext_proc_pb.ts'
import { file_envoy_extensions_filters_http_header_mutation_v3_header_mutation } from '../gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts'
import { file_envoy_extensions_filters_http_router_v3_router } from '../gen/envoy/extensions/filters/http/router/v3/router_pb.ts'
import { file_envoy_extensions_filters_listener_tls_inspector_v3_tls_inspector } from '../gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts'
import { file_envoy_extensions_http_early_header_mutation_header_mutation_v3_header_mutation } from '../gen/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.ts'
import { file_envoy_extensions_load_balancing_policies_least_request_v3_least_request } from '../gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts'
import { file_envoy_extensions_load_balancing_policies_override_host_v3_override_host } from '../gen/envoy/extensions/load_balancing_policies/override_host/v3/override_host_pb.ts'
import { file_envoy_extensions_load_balancing_policies_round_robin_v3_round_robin } from '../gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts'
import { file_envoy_extensions_load_balancing_policies_subset_v3_subset } from '../gen/envoy/extensions/load_balancing_policies/subset/v3/subset_pb.ts'
import { file_envoy_extensions_retry_host_previous_hosts_v3_previous_hosts } from '../gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts'
import { file_envoy_extensions_transport_sockets_tls_v3_tls } from '../gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import { file_envoy_extensions_upstreams_http_v3_http_protocol_options } from '../gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts'
import { file_envoy_service_accesslog_v3_als } from '../gen/envoy/service/accesslog/v3/als_pb.ts'
import { file_envoy_service_discovery_v3_ads } from '../gen/envoy/service/discovery/v3/ads_pb.ts'
import { file_envoy_service_ext_proc_v3_external_processor } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import { file_envoy_service_runtime_v3_rtds } from '../gen/envoy/service/runtime/v3/rtds_pb.ts'
import { file_grpc_health_v1_health } from '../gen/grpc/health/v1/health_pb.ts'
import { file_xds_service_orca_v3_orca } from '../gen/xds/service/orca/v3/orca_pb.ts'
import { file_xds_type_v3_typed_struct } from '../gen/xds/type/v3/typed_struct_pb.ts'

const roots: readonly DescFile[] = [
  file_envoy_config_bootstrap_v3_bootstrap,
  file_envoy_config_core_v3_resolver,
  file_envoy_extensions_access_loggers_file_v3_file,
  file_envoy_extensions_access_loggers_grpc_v3_als,
  file_envoy_extensions_access_loggers_stream_v3_stream,
  file_envoy_extensions_filters_http_ext_proc_v3_ext_proc,
  file_envoy_extensions_filters_http_header_mutation_v3_header_mutation,
  file_envoy_extensions_filters_http_router_v3_router,
  file_envoy_extensions_filters_listener_tls_inspector_v3_tls_inspector,
  file_envoy_extensions_http_early_header_mutation_header_mutation_v3_header_mutation,
  file_envoy_extensions_load_balancing_policies_least_request_v3_least_request,
  file_envoy_extensions_load_balancing_policies_override_host_v3_override_host,
  file_envoy_extensions_load_balancing_policies_round_robin_v3_round_robin,
  file_envoy_extensions_load_balancing_policies_subset_v3_subset,
  file_envoy_extensions_retry_host_previous_hosts_v3_previous_hosts,
  file_envoy_extensions_transport_sockets_tls_v3_tls,
  file_envoy_extensions_upstreams_http_v3_http_protocol_options,
  file_envoy_service_accesslog_v3_als,
  file_envoy_service_discovery_v3_ads,
  file_envoy_service_ext_proc_v3_external_processor,
  file_envoy_service_runtime_v3_rtds,
  file_grpc_health_v1_health,
  file_xds_service_orca_v3_orca,
  file_xds_type_v3_typed_struct,
]

/** All files, each once, imports (also `google/protobuf/*`) included. */
export function generatedFiles(): DescFile[] {
  const files = new Set<DescFile>()
  const add = (file: DescFile): void => {
    if (files.has(file)) return
    files.add(file)
    file.dependencies.forEach(add)
  }
  roots.forEach(add)
  return [...files]
}

/** Messages of `files` by full name, nested ones included. */
export function messagesByName(files: Iterable<DescFile>): Map<string, DescMessage> {
  const messages = new Map<string, DescMessage>()
  const add = (message: DescMessage): void => {
    messages.set(message.typeName, message)
    message.nestedMessages.forEach(add)
  }
  for (const file of files) file.messages.forEach(add)
  return messages
}
