/**
 * Files that list endpoints, for EndpointPickerConfigs that have `dataLayer.discovery` (llm-d's `file-discovery`).
 *
 * Budget: a file as large as may be is read in a second, a wrong one too: it is read on the main thread.
 */
import type { z } from 'zod'
import type { EndpointPickerConfig } from './kinds/endpoint-picker-config.ts'
import { type EndpointsFile, endpointsFileSchema } from './kinds/endpoints-file.ts'
import type { ObjectSet, TextFile } from './object-set.ts'
import { type Problem, sortProblems } from './problem.ts'
import { type ConfigItem, type Explanation, explain } from './read-document.ts'
import { parseYaml } from './yaml-documents.ts'

const FILE_DISCOVERY = 'file-discovery'
const MAX_BYTES = 1024 * 1024
const MAX_ENDPOINTS = 10_000
/** What a parser takes its time for. Endpoints with a few labels have about 20. */
const MAX_TOKENS = 30 * MAX_ENDPOINTS
const MAX_PROBLEMS = 100
const SPACE = 0x20
const SIGNS: ReadonlySet<number> = new Set(Buffer.from('{}[],:\n'))
const EMPTY = { name: '', namespace: 'default', labels: {}, annotations: {} }

export interface Discovery {
  readonly path: string
  /** The file is read again when it changes; else only when it is first heard of. */
  readonly watches: boolean
}

/** Where the configuration has its endpoints from; undefined: from elsewhere, or what it says makes no sense (src/compile tells). */
export function discoveryOf({ dataLayer, plugins }: EndpointPickerConfig): Discovery | undefined {
  const name = dataLayer?.discovery?.pluginRef
  const plugin = plugins.find(each => name !== undefined && (each.name ?? each.type) === name)
  const path = plugin?.parameters['path']
  if (plugin?.type !== FILE_DISCOVERY || typeof path !== 'string' || path === '') return undefined
  return { path, watches: plugin.parameters['watchFile'] === true }
}

export function discoveriesIn(items: readonly ConfigItem[]): Discovery[] {
  return items.flatMap(item => (item.kind === 'EndpointPickerConfig' ? (discoveryOf(item) ?? []) : []))
}

/**
 * The set with the endpoints of such files, and what is wrong with those. Of `paths` those that could not be read have none, which is no
 * further error.
 */
export function withEndpointsFiles(
  set: ObjectSet,
  paths: readonly string[],
  files: readonly TextFile[],
  problemsBefore: readonly Problem[],
): ObjectSet {
  if (paths.length === 0) return set
  const problems = [...problemsBefore]
  const items = files.flatMap(file => readEndpointsFile(file, problems) ?? [])
  const missing = new Set(paths)
  for (const { metadata } of items) missing.delete(metadata.name)
  return {
    ...set,
    items: [...set.items, ...items, ...[...missing].map(emptyFile)],
    errors: sortProblems([...set.errors, ...problems.filter(({ severity }) => severity === 'error')]),
    warnings: sortProblems([...set.warnings, ...problems.filter(({ severity }) => severity === 'warning')]),
  }
}

function emptyFile(file: string): EndpointsFile {
  return {
    kind: 'EndpointsFile',
    metadata: { ...EMPTY, name: file },
    origin: { locate: () => ({ file }) },
    endpoints: [],
  }
}

function readEndpointsFile({ file, text }: TextFile, problems: Problem[]): EndpointsFile | undefined {
  const tell = (severity: Problem['severity'], code: string, message: string): undefined => {
    problems.push({ severity, code, message, position: { file } })
  }
  const bytes = Buffer.byteLength(text)
  if (bytes > MAX_BYTES) return tell('error', 'too-large', `is ${bytes} bytes long; the limit is ${MAX_BYTES}`)
  if (text.includes('\0')) return tell('error', 'encoding', 'is not a text file')
  if (tokensIn(text) > MAX_TOKENS) return tell('error', 'too-large', `has more than ${MAX_TOKENS} words and signs`)
  const parsed = parseYaml(text, file)
  problems.push(...(LIST.test(text) ? parsed.problems : parsed.problems.map(withoutContent)))
  if (parsed.problems.length > 0) return undefined
  const [document, another] = parsed.documents
  if (document === undefined)
    return tell('error', 'empty-file', 'the file is empty: endpoints: [] says that there are none')
  if (another !== undefined) return tell('error', 'invalid-value', 'a file of endpoints has one document')
  const list = listIn(document.value)
  if (list === undefined) return tell('error', 'invalid-value', 'must be an object with the list "endpoints"')
  if (list.length > MAX_ENDPOINTS)
    return tell('error', 'too-large', `has ${list.length} endpoints; the limit is ${MAX_ENDPOINTS}`)
  const read = endpointsFileSchema.safeParse(document.value)
  if (!read.success) {
    const explained = explainSome(read.error.issues, document.value)
    for (const { code, path, message } of explained.slice(0, MAX_PROBLEMS))
      problems.push({ severity: 'error', code, message, position: document.locate(path), path })
    if (explained.length > MAX_PROBLEMS) tell('error', 'invalid-value', `has more than these ${MAX_PROBLEMS} problems`)
    return undefined
  }
  let duplicates = 0
  const byName = new Map<string, (typeof read.data.endpoints)[number]>()
  for (const [index, endpoint] of read.data.endpoints.entries()) {
    const key = `${endpoint.namespace}/${endpoint.name}`
    if (byName.has(key) && ++duplicates <= MAX_PROBLEMS) {
      const position = document.locate(['endpoints', index, 'name'])
      problems.push({
        severity: 'warning',
        code: 'duplicate-endpoint',
        message: `${key} is there twice: the last one counts`,
        position,
      })
    }
    byName.set(key, endpoint)
  }
  if (duplicates > MAX_PROBLEMS)
    tell('warning', 'duplicate-endpoint', `has ${duplicates} endpoints that are there twice; ${MAX_PROBLEMS} are shown`)
  const origin = { locate: (path: Parameters<typeof document.locate>[0]) => document.locate(path) }
  return { kind: 'EndpointsFile', metadata: { ...EMPTY, name: file }, origin, endpoints: [...byName.values()] }
}

/** Begins like a list, or has a line that does. */
const LIST = /^\s*(?:\{\s*)?["']?endpoints["']?\s*:/m

/** A parser quotes what it stumbled over. The file may be another one than was meant, and hold secrets: they aren't for the log. */
function withoutContent(problem: Problem): Problem {
  return { ...problem, message: 'is neither YAML nor JSON' }
}

/** The entries; undefined: what was read is no list. */
function listIn(value: unknown): readonly unknown[] | undefined {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'endpoints')) return undefined
  const list: unknown = Reflect.get(value, 'endpoints')
  return list === null ? [] : Array.isArray(list) ? list : undefined
}

/** One more than are shown, if there are more. */
function explainSome(issues: readonly z.core.$ZodIssue[], root: unknown): Explanation[] {
  const explained: Explanation[] = []
  for (const issue of issues) {
    explained.push(...explain(issue, root).slice(0, MAX_PROBLEMS + 1 - explained.length))
    if (explained.length > MAX_PROBLEMS) break
  }
  return explained
}

/** Words and signs, about as a parser counts them. */
function tokensIn(text: string): number {
  let count = 0
  let inWord = false
  for (let i = 0; i < text.length; i++) {
    const isSign = SIGNS.has(text.charCodeAt(i))
    const isWord = !isSign && text.charCodeAt(i) > SPACE
    if (isSign || (isWord && !inWord)) count++
    inWord = isWord
  }
  return count
}
