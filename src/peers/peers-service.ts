/** The gRPC service between replicas, as grpc-js wants it described. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type Listener, ListenerSchema, type Report, ReportSchema } from '../gen/signalbox/peers/v1/peers_pb.ts'

/** Reports leave as bytes: one is encoded once for all who hear it. */
export const peersService = {
  tell: {
    path: '/signalbox.peers.v1.Peers/Tell',
    requestStream: true,
    responseStream: true,
    requestSerialize: asBuffer,
    requestDeserialize: (bytes: Buffer): Report => fromBinary(ReportSchema, bytes),
    responseSerialize: (replica: string): Buffer =>
      asBuffer(toBinary(ListenerSchema, create(ListenerSchema, { replica }))),
    responseDeserialize: (bytes: Buffer): Listener => fromBinary(ListenerSchema, bytes),
  },
} as const

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
