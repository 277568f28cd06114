/**
 * Checks the structure of a resource's protobuf JSON and brings it into the form that encodes deterministically: names in
 * lowerCamelCase, map and Struct keys sorted, `Any`s of unknown types as `xds.type.v3.TypedStruct`, which Envoy converts by its own
 * descriptors. Scalar values are left to `fromJson`; `findBadValues` says where they are wrong.
 */
import { type DescField, type DescMessage, fromJson, type JsonObject, type JsonValue } from '@bufbuild/protobuf'
import { compareText, type FieldPath } from '../config/problem.ts'
import { didYouMean } from '../config/suggest.ts'
import { typeNameOf } from './type-urls.ts'

export const TYPED_STRUCT = 'type.googleapis.com/xds.type.v3.TypedStruct'

/** Something wrong at a path of the resource. */
export interface JsonProblem {
  readonly code: 'unknown-field' | 'duplicate-field' | 'invalid-value' | 'missing-type'
  readonly path: FieldPath
  readonly message: string
}

interface Walk {
  readonly lookup: (typeName: string) => DescMessage | undefined
  readonly problems: JsonProblem[]
  /** Called for each field whose value `fromJson` has to judge. */
  readonly leaf?: (parent: DescMessage, field: DescField, value: JsonValue, path: FieldPath) => void
}

export interface Prepared {
  readonly json: JsonValue
  readonly problems: readonly JsonProblem[]
}

export function prepareJson(schema: DescMessage, json: JsonValue, lookup: Walk['lookup']): Prepared {
  const problems: JsonProblem[] = []
  return { json: prepareMessage({ lookup, problems }, schema, json, []), problems }
}

/** After `fromJson` refused a structurally sound `json`: every scalar, enum or well-known value that it refuses. */
export function findBadValues(schema: DescMessage, json: JsonValue, lookup: Walk['lookup']): JsonProblem[] {
  const problems: JsonProblem[] = []
  const leaf: Walk['leaf'] = (parent, field, value, path) => {
    try {
      fromJson(parent, { [field.jsonName]: value })
    } catch (error) {
      const reason =
        error instanceof Error ? error.message.replace(/^cannot decode .*? from JSON: /, '') : String(error)
      problems.push({ code: 'invalid-value', path, message: reason })
    }
  }
  prepareMessage({ lookup, problems: [], leaf }, schema, json, [])
  return problems
}

function prepareMessage(walk: Walk, schema: DescMessage, json: JsonValue, path: FieldPath): JsonValue {
  if (!isObject(json)) {
    walk.problems.push({
      code: 'invalid-value',
      path,
      message: `expected an object of ${schema.typeName}, got ${describe(json)}`,
    })
    return json
  }
  const fields = fieldsByKey(schema)
  const seen = new Map<unknown, string>()
  const entries: [string, JsonValue][] = []
  for (const [key, value] of Object.entries(json)) {
    const at = [...path, key]
    const field = fields.get(key)
    if (field === undefined) {
      const message = `${schema.typeName} has no field "${key}"${didYouMean(key, [...fields.keys()])}`
      walk.problems.push({ code: 'unknown-field', path: at, message })
      continue
    }
    // An optional property that is undefined counts as absent, as in JSON.stringify.
    if (value == null) continue
    const slot = field.oneof ?? field
    const other = seen.get(slot)
    if (other !== undefined)
      walk.problems.push({ code: 'duplicate-field', path: at, message: `cannot be set together with "${other}"` })
    seen.set(slot, key)
    entries.push([field.jsonName, prepareField(walk, schema, field, value, at)])
  }
  return Object.fromEntries(entries)
}

function prepareField(walk: Walk, parent: DescMessage, field: DescField, value: JsonValue, path: FieldPath): JsonValue {
  const message = field.message
  if (field.fieldKind === 'list') {
    if (!Array.isArray(value)) return refuse(walk, value, path, 'a list')
    if (message === undefined || isLeaf(message)) {
      value.forEach((element, index) => walk.leaf?.(parent, field, [element], [...path, index]))
      return value
    }
    return value.map((element, index) => prepareValue(walk, message, element, [...path, index]))
  }
  if (field.fieldKind === 'map') {
    if (!isObject(value)) return refuse(walk, value, path, 'an object')
    const entries = Object.entries(value).sort(([a], [b]) => compareText(a, b))
    if (message === undefined || isLeaf(message)) {
      for (const [key, element] of entries) walk.leaf?.(parent, field, { [key]: element }, [...path, key])
      return Object.fromEntries(entries)
    }
    return Object.fromEntries(
      entries.map(([key, element]) => [key, prepareValue(walk, message, element, [...path, key])]),
    )
  }
  if (message === undefined || isLeaf(message)) {
    walk.leaf?.(parent, field, value, path)
    return value
  }
  return prepareValue(walk, message, value, path)
}

function prepareValue(walk: Walk, schema: DescMessage, value: JsonValue, path: FieldPath): JsonValue {
  switch (schema.typeName) {
    case 'google.protobuf.Any':
      return prepareAny(walk, value, path)
    case 'google.protobuf.Struct':
      return isObject(value) ? sortKeys(value) : refuse(walk, value, path, 'an object')
    case 'google.protobuf.ListValue':
      return Array.isArray(value) ? sortKeys(value) : refuse(walk, value, path, 'a list')
    case 'google.protobuf.Value':
      return sortKeys(value)
    default:
      return prepareMessage(walk, schema, value, path)
  }
}

function prepareAny(walk: Walk, value: JsonValue, path: FieldPath): JsonValue {
  if (!isObject(value)) return refuse(walk, value, path, 'an object with "@type"')
  const { '@type': typeUrl, ...rest } = value
  if (typeof typeUrl !== 'string' || !/^[^/]+\/./.test(typeUrl)) {
    const message = 'needs "@type", for instance "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"'
    walk.problems.push({ code: 'missing-type', path: [...path, '@type'], message })
    return value
  }
  const typeName = typeNameOf(typeUrl)
  const schema = walk.lookup(typeName)
  if (schema === undefined) return { '@type': TYPED_STRUCT, typeUrl, value: sortKeys(rest) }
  // Types with a JSON form of their own carry it under `value`.
  if (typeName.startsWith('google.protobuf.')) return sortKeys(value)
  const prepared = prepareMessage(walk, schema, rest, path)
  return isObject(prepared) ? { '@type': typeUrl, ...prepared } : value
}

function refuse(walk: Walk, value: JsonValue, path: FieldPath, expected: string): JsonValue {
  walk.problems.push({ code: 'invalid-value', path, message: `expected ${expected}, got ${describe(value)}` })
  return value
}

/** Well-known types whose JSON is one scalar: wrappers, Duration, Timestamp, FieldMask. */
function isLeaf(message: DescMessage): boolean {
  return message.typeName.startsWith('google.protobuf.') && !structured.has(message.typeName)
}

const structured: ReadonlySet<string> = new Set([
  'google.protobuf.Any',
  'google.protobuf.Struct',
  'google.protobuf.ListValue',
  'google.protobuf.Value',
  'google.protobuf.Empty',
])

const fieldMaps = new WeakMap<DescMessage, ReadonlyMap<string, DescField>>()

/** Fields by both spellings. */
function fieldsByKey(schema: DescMessage): ReadonlyMap<string, DescField> {
  let fields = fieldMaps.get(schema)
  if (fields === undefined) {
    const map = new Map<string, DescField>()
    for (const field of schema.fields) map.set(field.name, field).set(field.jsonName, field)
    fieldMaps.set(schema, (fields = map))
  }
  return fields
}

/** A copy with the keys of all objects sorted: `Struct.fields` is a map, and maps are encoded in the order of their keys. */
function sortKeys(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (!isObject(value)) return value
  const entries = Object.entries(value).sort(([a], [b]) => compareText(a, b))
  return Object.fromEntries(entries.map(([key, element]) => [key, sortKeys(element)]))
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function describe(value: JsonValue): string {
  return Array.isArray(value) ? 'a list' : value === null ? 'null' : typeof value
}
