import type { JsonObject } from '@bufbuild/protobuf'

/**
 * The Envoy half of what `compile` makes: resources in protobuf JSON (lowerCamelCase names as protobuf-es writes them), each
 * with unique names per type. Plain data, so golden tests can print it and the embedded data plane can read it.
 *
 * The element types are deliberately the JSON form: `google.protobuf.Any` stays `{"@type": …}`, also for types that we have no
 * descriptor of (raw resources of users).
 */
export interface EnvoyResources {
  readonly clusters: readonly JsonObject[]
  readonly endpoints: readonly JsonObject[]
  readonly listeners: readonly JsonObject[]
  readonly routes: readonly JsonObject[]
  readonly secrets: readonly JsonObject[]
  /** Raw resources of any other xDS type (runtime, extension configs …), each with its `@type`; served under that type URL. */
  readonly others: readonly JsonObject[]
}
