/** From the JSON of a resource to the bytes that xDS sends, by our generated descriptors and those that a user loads. */
import { createHash } from 'node:crypto'
import {
  createFileRegistry,
  createRegistry,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  type Registry,
  toBinary,
  toJson,
} from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import type { Problem } from '../config/problem.ts'
import { generatedFiles, messagesByName } from './generated-files.ts'
import { InvalidResourcesError } from './invalid-resources-error.ts'
import { findBadValues, isObject, type JsonProblem, prepareJson, TYPED_STRUCT } from './prepare-json.ts'
import { typeNameOf } from './type-urls.ts'

/** A resource ready to be sent. Immutable, shared by all streams. */
export interface EncodedResource {
  readonly name: string
  readonly typeUrl: string
  /** The resource in binary form; equal content has equal bytes. */
  readonly bytes: Uint8Array
  /** Hash of the content. */
  readonly version: string
  /** Clusters by EDS only: name of the ClusterLoadAssignment that belongs to it. */
  readonly endpointsName?: string
}

/** The bytes are no complete `google.protobuf.FileDescriptorSet`. */
export class DescriptorSetError extends Error {
  readonly code = 'INVALID_DESCRIPTOR_SET'
  constructor(cause: unknown) {
    super(`not a usable FileDescriptorSet: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    this.name = 'DescriptorSetError'
  }
}

export class ResourceRegistry {
  readonly #generated = generatedFiles()
  #types = messagesByName(this.#generated)
  #registry: Registry = createRegistry(...this.#generated)

  /**
   * Adds the types of a FileDescriptorSet (with imports, as `buf build` and `protoc --include_imports` write them). They go before
   * ours, so fields that our subset leaves out become usable.
   */
  loadDescriptors(bytes: Uint8Array): void {
    try {
      const loaded = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes))
      this.#types = new Map([...this.#types, ...messagesByName(loaded.files)])
      this.#registry = createRegistry(this.#registry, loaded)
    } catch (error) {
      throw new DescriptorSetError(error)
    }
  }

  /**
   * `json` in snake_case or camelCase. Its type is `@type`, or `typeUrl` where a list has one type only. Throws
   * `InvalidResourcesError`.
   */
  encodeResource(json: JsonObject, typeUrl?: string): EncodedResource {
    const { message, schema, type, name } = this.#read(json, typeUrl)
    const bytes = toBinary(schema, message)
    const endpointsName = endpointsNameOf(json, name)
    return { name, typeUrl: type, bytes, version: hashOf(bytes), ...(endpointsName !== undefined && { endpointsName }) }
  }

  /**
   * The same resource in canonical protobuf JSON: lowerCamelCase, enums by name, defaults left out. `Any`s of unknown types keep
   * their `@type` and the JSON they had. Throws `InvalidResourcesError`.
   */
  normalizeResource(json: JsonObject, typeUrl?: string): JsonObject {
    const { message, schema } = this.#read(json, typeUrl)
    return this.#unwrap(toJson(schema, message, { registry: this.#registry })) as JsonObject
  }

  #read(
    json: JsonObject,
    givenType: string | undefined,
  ): { message: Message; schema: DescMessage; type: string; name: string } {
    const { '@type': ownType, ...body } = json
    const type = typeof ownType === 'string' ? ownType : givenType
    if (type === undefined)
      throw refusal('resource', [{ code: 'missing-type', path: ['@type'], message: 'needs "@type"' }])
    if (givenType !== undefined && type !== givenType) {
      const message = `expected ${typeNameOf(givenType)}`
      throw refusal(objectName(type, json), [{ code: 'invalid-value', path: ['@type'], message }])
    }
    const schema = this.#types.get(typeNameOf(type))
    if (schema === undefined) {
      const message = `no descriptor of "${typeNameOf(type)}": load one from a FileDescriptorSet`
      throw refusal(objectName(type, json), [{ code: 'unknown-type', path: ['@type'], message }])
    }
    const lookup = (typeName: string): DescMessage | undefined => this.#types.get(typeName)
    const prepared = prepareJson(schema, body, lookup)
    if (prepared.problems.length > 0) throw refusal(objectName(type, json), prepared.problems)
    const name = nameOf(json)
    if (name === '')
      throw refusal(objectName(type, json), [{ code: 'missing-name', path: ['name'], message: 'needs a name' }])
    try {
      return { message: fromJson(schema, prepared.json, { registry: this.#registry }), schema, type, name }
    } catch (error) {
      const found = findBadValues(schema, body, lookup)
      const fallback: JsonProblem = {
        code: 'invalid-value',
        path: [],
        message: error instanceof Error ? error.message : String(error),
      }
      throw refusal(objectName(type, json), found.length > 0 ? found : [fallback])
    }
  }

  /** TypedStructs of types without a descriptor mean the same as the type itself. */
  #unwrap(json: JsonValue): JsonValue {
    if (Array.isArray(json)) return json.map(element => this.#unwrap(element))
    if (!isObject(json)) return json
    const { '@type': type, typeUrl, value } = json
    if (type === TYPED_STRUCT && typeof typeUrl === 'string' && !this.#types.has(typeNameOf(typeUrl))) {
      return { '@type': typeUrl, ...(isObject(value) ? value : {}) }
    }
    return Object.fromEntries(Object.entries(json).map(([key, element]) => [key, this.#unwrap(element)]))
  }
}

/** Short hash of `bytes`, the same in every process. */
export function hashOf(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16)
}

interface Refusal {
  readonly code: string
  readonly path: JsonProblem['path']
  readonly message: string
}

function refusal(object: string, problems: readonly Refusal[]): InvalidResourcesError {
  return new InvalidResourcesError(problems.map((problem): Problem => ({ severity: 'error', object, ...problem })))
}

/** `Cluster echo` */
function objectName(typeUrl: string, json: JsonObject): string {
  const short = typeUrl.slice(Math.max(typeUrl.lastIndexOf('.'), typeUrl.lastIndexOf('/')) + 1)
  return `${short} ${nameOf(json) || '(no name)'}`
}

/** A ClusterLoadAssignment is named after its cluster. */
function nameOf(json: JsonObject): string {
  const name = json['name'] ?? json['clusterName'] ?? json['cluster_name']
  return typeof name === 'string' ? name : ''
}

function endpointsNameOf(json: JsonObject, name: string): string | undefined {
  const eds = json['edsClusterConfig'] ?? json['eds_cluster_config']
  if (!isObject(eds)) return undefined
  const service = eds['serviceName'] ?? eds['service_name']
  return typeof service === 'string' && service !== '' ? service : name
}
