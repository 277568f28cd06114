/** The gRPC services of the management server, as grpc-js wants them described. */
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
} from '../gen/envoy/service/discovery/v3/discovery_pb.ts'

/** Answers leave as bytes, because they are assembled from resources that are encoded already. */
export const aggregatedDiscoveryService = {
  streamAggregatedResources: {
    path: '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources',
    requestStream: true,
    responseStream: true,
    requestSerialize: (request: DiscoveryRequest): Buffer => asBuffer(toBinary(DiscoveryRequestSchema, request)),
    requestDeserialize: (bytes: Buffer): DiscoveryRequest => fromBinary(DiscoveryRequestSchema, bytes),
    responseSerialize: asBuffer,
    responseDeserialize: (bytes: Buffer): DiscoveryResponse => fromBinary(DiscoveryResponseSchema, bytes),
  },
} as const

/** Messages stay bytes: only a few of their fields are ever read. */
export const accessLogService = {
  streamAccessLogs: {
    path: '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs',
    requestStream: true,
    responseStream: false,
    requestSerialize: asBuffer,
    requestDeserialize: asBuffer,
    responseSerialize: asBuffer,
    responseDeserialize: asBuffer,
  },
} as const

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
