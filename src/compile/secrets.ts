import type { SecretJson } from '../gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts'
import type { ListenerState } from './gateways.ts'
import type { ObjectIndex } from './object-index.ts'

/** The SDS secrets of the HTTPS listeners, each once. */
export function secretsJson(objects: ObjectIndex, listeners: readonly ListenerState[]): SecretJson[] {
  const names = new Set(listeners.flatMap(listener => listener.secrets))
  return [...names].sort().map(name => {
    const { data } = objects.get('Secret', name)!
    return {
      name,
      tlsCertificate: {
        certificateChain: { inlineString: data['tls.crt']! },
        privateKey: { inlineString: data['tls.key']! },
      },
    }
  })
}
