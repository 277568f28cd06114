import type { JsonObject, JsonValue } from '@bufbuild/protobuf'
import type { EnvoyResources } from '../config/envoy-resources.ts'

/** Fields of Envoy's API below which inline data are secret, in both spellings of JSON. */
const SECRET_FIELDS: ReadonlySet<string> = new Set(
  ['private_key', 'password', 'pkcs12', 'session_ticket_keys', 'generic_secret', 'hmac_secret', 'token_secret'].flatMap(
    name => [name, name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())],
  ),
)
const INLINE_FIELDS: ReadonlySet<string> = new Set(['inline_string', 'inlineString', 'inline_bytes', 'inlineBytes'])
const PLACEHOLDER = '(left out)'

/** The resources as they may be shown: a placeholder for each private key and each other secret that stands in them. */
export function withoutSecrets(envoy: EnvoyResources): EnvoyResources {
  const show = (resources: readonly JsonObject[]) => resources.map(resource => masked(resource, false) as JsonObject)
  const { clusters, endpoints, listeners, routes, secrets, others } = envoy
  return {
    clusters: show(clusters),
    endpoints: show(endpoints),
    listeners: show(listeners),
    routes: show(routes),
    secrets: show(secrets),
    others: show(others),
  }
}

function masked(value: JsonValue, secret: boolean): JsonValue {
  if (Array.isArray(value)) return value.map(item => masked(item, secret))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      if (secret && INLINE_FIELDS.has(key)) return [key, PLACEHOLDER]
      return [key, masked(item, secret || SECRET_FIELDS.has(key))]
    }),
  )
}
