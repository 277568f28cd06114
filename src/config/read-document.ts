import type { JsonObject } from '@bufbuild/protobuf'
import type { z } from 'zod'
import { type ConfigObject, IGNORED_KINDS, KINDS } from './kinds/registry.ts'
import { type MendedValue, mendValue } from './mended-value.ts'
import type { ObjectMeta, Origin } from './object.ts'
import type { FieldPath, Problem } from './problem.ts'
import { didYouMean } from './suggest.ts'
import type { YamlDocument } from './yaml-documents.ts'
import { valueAt } from './value-at.ts'

/** A document with an `@type` and no `kind`: an xDS resource that users wrote themselves, handed on as it is. */
export interface RawResource {
  readonly kind: 'EnvoyResource'
  readonly type: string
  readonly name: string
  readonly resource: JsonObject
  readonly origin: Origin
}

export type ConfigItem = ConfigObject | RawResource

/** An object with errors: what it is called, and, where that could be mended, what it may have been. For finding more errors only. */
export interface BrokenObject {
  /** `Kind namespace/name` */
  readonly object: string
  readonly item?: ConfigObject
  readonly mended?: Omit<MendedValue, 'data'>
}

export interface ReadResult {
  readonly items: ConfigItem[]
  readonly broken: BrokenObject[]
  /** Good and bad ones. */
  objects: number
  readonly problems: Problem[]
}

const API_VERSION = /^([a-z0-9.-]+\/)?v[a-z0-9]+$/

/** Turns one document (or each item of a `List`) into a validated object. All problems of the document are reported. */
export function readDocument(document: YamlDocument): ReadResult {
  const result: ReadResult = { items: [], broken: [], objects: 0, problems: [] }
  readValue(document.value, { locate: path => document.locate(path) }, result)
  return result
}

function readValue(value: unknown, origin: Origin, result: ReadResult): void {
  result.objects++
  if (!isRecord(value)) {
    report(result, origin, 'not-an-object', [], `expected an object with apiVersion and kind, not ${describe(value)}`)
    return
  }
  const { kind, apiVersion } = value
  if (kind === undefined && value['@type'] !== undefined) {
    readRaw(value, origin, result)
    return
  }
  if (typeof kind !== 'string') {
    report(result, origin, 'no-kind', ['kind'], 'needs a kind (or, for a raw Envoy resource, an @type)')
    return
  }
  if (typeof apiVersion !== 'string' || !API_VERSION.test(apiVersion)) {
    report(result, origin, 'no-api-version', ['apiVersion'], `${kind} needs an apiVersion such as "v1"`)
    return
  }
  if (kind.endsWith('List') && Array.isArray(value['items'])) {
    result.objects--
    for (const [index, item] of value['items'].entries())
      readValue(item, { locate: path => origin.locate(['items', index, ...path]) }, result)
    return
  }
  const reader = KINDS.get(`${apiVersion}/${kind}`)
  if (reader === undefined) {
    reportUnknownKind(kind, apiVersion, origin, result)
    return
  }
  const parsed = reader.schema.safeParse(value)
  if (parsed.success) {
    result.items.push(itemOf(reader.kind, parsed.data, origin))
    return
  }
  const object = `${kind} ${nameOf(value)}`
  const mended = mendValue(reader.schema, value)
  result.broken.push(
    mended === undefined ? { object } : { object, item: itemOf(reader.kind, mended.data, origin), mended },
  )
  for (const issue of parsed.error.issues) {
    for (const { code, path, message } of explain(issue, value)) {
      result.problems.push({ severity: 'error', code, message, position: origin.locate(path), object, path })
    }
  }
}

/** The schema belongs to the kind: the registry pairs them. */
function itemOf(kind: ConfigObject['kind'], data: unknown, origin: Origin): ConfigObject {
  const { apiVersion: _, status: _status, ...rest } = data as { apiVersion: string; status?: unknown }
  return { ...rest, kind, origin } as unknown as ConfigObject
}

function readRaw(value: Record<string, unknown>, origin: Origin, result: ReadResult): void {
  const type = value['@type']
  if (typeof type !== 'string' || !/^type\.googleapis\.com\/[\w.]+$/.test(type)) {
    report(
      result,
      origin,
      'invalid-type',
      ['@type'],
      'must look like type.googleapis.com/envoy.config.cluster.v3.Cluster',
    )
    return
  }
  const name = value['name'] ?? value['clusterName'] ?? value['cluster_name']
  if (typeof name !== 'string' || name === '') {
    report(result, origin, 'no-name', ['name'], 'a raw Envoy resource needs a name')
    return
  }
  const resource = JSON.parse(JSON.stringify(value)) as JsonObject
  result.items.push({ kind: 'EnvoyResource', type: type.slice('type.googleapis.com/'.length), name, resource, origin })
}

function reportUnknownKind(kind: string, apiVersion: string, origin: Origin, result: ReadResult): void {
  const versions = [...KINDS.keys()].filter(key => key.endsWith(`/${kind}`)).map(key => key.slice(0, -kind.length - 1))
  if (versions.length > 0) {
    const message = `${kind} is read as ${versions.join(' or ')}, not as ${apiVersion}`
    report(result, origin, 'unknown-version', ['apiVersion'], message)
  } else if (IGNORED_KINDS.has(kind)) {
    result.problems.push({
      severity: 'warning',
      code: 'ignored-kind',
      message: `${kind} means nothing to Signalbox and is ignored`,
      position: origin.locate([]),
    })
  } else {
    const known = [...new Set<string>([...KINDS.values()].map(reader => reader.kind)), ...IGNORED_KINDS]
    report(result, origin, 'unknown-kind', ['kind'], `unknown kind "${kind}"${didYouMean(kind, known)}`)
  }
}

function report(result: ReadResult, origin: Origin, code: string, path: FieldPath, message: string): void {
  result.problems.push({ severity: 'error', code, message, position: origin.locate(path), path })
}

export interface Explanation {
  readonly code: string
  readonly path: FieldPath
  readonly message: string
}

/** Says an issue in our words, at its own field; `root` is what was read. */
export function explain(issue: z.core.$ZodIssue, root: unknown): Explanation[] {
  const path = issue.path.map(part => (typeof part === 'number' ? part : String(part)))
  switch (issue.code) {
    case 'unrecognized_keys': {
      const lines = issue.message.split('\n')
      return issue.keys.map((key, index) => ({
        code: 'unknown-field',
        path: [...path, key],
        message: lines[index] ?? `unknown field "${key}"`,
      }))
    }
    case 'invalid_type': {
      const value = valueAt(root, path)
      if (!issue.message.startsWith('Invalid')) {
        const end = value === undefined ? '' : `, not ${describe(value)}`
        return [{ code: value === undefined ? 'required' : 'wrong-type', path, message: `${issue.message}${end}` }]
      }
      if (value === undefined) return [{ code: 'required', path, message: `is required: ${article(issue.expected)}` }]
      const hint = issue.expected === 'string' && typeof value !== 'object' ? ': put it in quotes' : unquoteHint(value)
      return [
        { code: 'wrong-type', path, message: `must be ${article(issue.expected)}, not ${describe(value)}${hint}` },
      ]
    }
    case 'invalid_value': {
      const value = valueAt(root, path)
      const allowed = issue.values.map(String)
      if (issue.message.startsWith('Invalid')) {
        const quoted = issue.values.some(one => typeof one !== 'string' && String(one) === value)
        const hint = quoted ? unquoteHint(value) : typeof value === 'string' ? didYouMean(value, allowed) : ''
        return [{ code: 'invalid-value', path, message: `must be ${list(allowed)}, not ${describe(value)}${hint}` }]
      }
      return [{ code: 'invalid-value', path, message: issue.message }]
    }
    case 'invalid_union':
      return explainUnion(issue, path, root)
    case 'invalid_key':
    case 'invalid_element':
      return issue.issues.flatMap(inner => explain({ ...inner, path: [...issue.path, ...inner.path] }, root))
    case 'too_small':
    case 'too_big':
      return [{ code: 'out-of-range', path, message: rangeMessage(issue) }]
    default:
      return [{ code: 'invalid-value', path, message: issue.message }]
  }
}

/** For a text that is a number or a boolean but for its quotes. */
function unquoteHint(value: unknown): string {
  return typeof value === 'string' && /^(?:-?\d+(?:\.\d+)?|true|false)$/.test(value) ? ': take the quotes off' : ''
}

function explainUnion(issue: z.core.$ZodIssueInvalidUnion, path: FieldPath, root: unknown): Explanation[] {
  const value = valueAt(root, path)
  const options: unknown = Reflect.get(issue, 'options')
  if (Array.isArray(options)) {
    const allowed = options.map(String)
    const text = value === undefined ? 'is required:' : 'must be'
    const hint = typeof value === 'string' ? `, not "${value}"${didYouMean(value, allowed)}` : ''
    return [{ code: 'invalid-value', path, message: `${text} ${list(allowed)}${hint}` }]
  }
  const messages = issue.errors.flatMap(errors => errors.flatMap(inner => explain(inner, value).map(e => e.message)))
  return [{ code: 'invalid-value', path, message: [...new Set(messages)].join(', or ') || issue.message }]
}

function rangeMessage(issue: z.core.$ZodIssueTooBig | z.core.$ZodIssueTooSmall): string {
  // Our own messages stay; zod's begin with "Too".
  if (!issue.message.startsWith('Too')) return issue.message
  const unit = issue.origin === 'array' ? ' items' : issue.origin === 'string' ? ' characters' : ''
  const { inclusive } = issue
  if (issue.code === 'too_small') {
    return `must ${unit === '' ? 'be' : 'have'} ${inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${unit}`
  }
  return `must ${unit === '' ? 'be' : 'have'} ${inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${unit}`
}

function nameOf(value: Record<string, unknown>): string {
  const metadata = value['metadata']
  if (!isRecord(metadata)) return '(unnamed)'
  const { name, namespace } = metadata as Partial<ObjectMeta>
  return `${typeof namespace === 'string' ? namespace : 'default'}/${typeof name === 'string' ? name : '(unnamed)'}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'an object'
  const text = JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

function article(type: string): string {
  const names: Readonly<Record<string, string>> = {
    array: 'a list',
    record: 'an object',
    object: 'an object',
    int: 'an integer',
  }
  return names[type] ?? `a ${type}`
}

function list(values: readonly string[]): string {
  return values.length === 1 ? values[0]! : `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`
}
