/** Certificates of listeners, inline or by the name of a secret. */
import type { JsonObject } from '@bufbuild/protobuf'
import type { TransportSocket } from '../gen/envoy/config/core/v3/base_pb.ts'
import {
  type TlsCertificate,
  TlsParameters_TlsProtocol as Protocol,
} from '../gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts'
import { type Secret, SecretSchema } from '../gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts'
import {
  CommonTlsContextSchema,
  DownstreamTlsContextSchema,
} from '../gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts'
import type { TlsServer } from './configuration.ts'
import { readData } from './read-cluster.ts'
import { pathOf, type Problems, readResource, unpackAs } from './resource-reader.ts'

export type Secrets = ReadonlyMap<string, Secret>

export function readSecrets(secrets: readonly JsonObject[], problems: Problems): Secrets {
  const known = new Map<string, Secret>()
  for (const json of secrets) {
    const secret = readResource(pathOf('secret', json['name']), SecretSchema, json, problems, true)
    if (secret !== undefined) known.set(secret.name, secret)
  }
  return known
}

/** Undefined: plain text. */
export function readServerTls(
  path: string,
  socket: TransportSocket | undefined,
  secrets: Secrets,
  problems: Problems,
): TlsServer | undefined {
  if (socket === undefined) return undefined
  const context = unpackAs(socket.configType.value, DownstreamTlsContextSchema)
  const common = context?.commonTlsContext
  if (context === undefined || common === undefined) {
    problems.add(path, `transport socket ${socket.name} is not served`)
    return undefined
  }
  problems.unsupported(path, CommonTlsContextSchema, common, [
    'tlsParams',
    'tlsCertificates',
    'tlsCertificateSdsSecretConfigs',
    'validationContextType',
    'alpnProtocols',
  ])
  const certificates: TlsCertificate[] = [...common.tlsCertificates]
  for (const { name } of common.tlsCertificateSdsSecretConfigs) {
    const secret = secrets.get(name)
    if (secret?.type.case === 'tlsCertificate') certificates.push(secret.type.value)
    else problems.add(path, `there is no certificate ${name}`)
  }
  const validation = common.validationContextType
  const trusted =
    validation.case === 'validationContext'
      ? validation.value
      : validation.case === 'validationContextSdsSecretConfig'
        ? secretValidation(path, validation.value.name, secrets, problems)
        : undefined
  if (validation.case === 'combinedValidationContext') problems.add(path, 'combined_validation_context is not served')
  return {
    certificates: certificates.map(certificate => ({
      cert: readData(certificate.certificateChain) ?? '',
      key: readData(certificate.privateKey) ?? '',
    })),
    ca: readData(trusted?.trustedCa),
    requireClientCertificate: context.requireClientCertificate === true,
    minVersion: common.tlsParams?.tlsMinimumProtocolVersion === Protocol.TLSv1_3 ? 'TLSv1.3' : 'TLSv1.2',
  }
}

function secretValidation(path: string, name: string, secrets: Secrets, problems: Problems) {
  const secret = secrets.get(name)
  if (secret?.type.case === 'validationContext') return secret.type.value
  problems.add(path, `there is no validation context ${name}`)
  return undefined
}
