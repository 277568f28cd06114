/** Files that list endpoints, for EndpointPickerConfigs that have `dataLayer.discovery` (llm-d's `file-discovery`). */
import type { EndpointPickerConfig } from './kinds/endpoint-picker-config.ts'
import { type EndpointsFile, endpointsFileSchema } from './kinds/endpoints-file.ts'
import type { ObjectSet, TextFile } from './object-set.ts'
import { type Problem, sortProblems } from './problem.ts'
import { type ConfigItem, explain } from './read-document.ts'
import { parseYaml } from './yaml-documents.ts'

const FILE_DISCOVERY = 'file-discovery'
const MAX_BYTES = 1024 * 1024
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
  const parsed = parseYaml(text, file)
  problems.push(...parsed.problems)
  if (parsed.problems.length > 0) return undefined
  const [document, another] = parsed.documents
  if (document === undefined)
    return tell('error', 'empty-file', 'the file is empty: endpoints: [] says that there are none')
  if (another !== undefined) return tell('error', 'invalid-value', 'a file of endpoints has one document')
  const read = endpointsFileSchema.safeParse(document.value)
  if (!read.success) {
    for (const issue of read.error.issues)
      for (const { code, path, message } of explain(issue, document.value))
        problems.push({ severity: 'error', code, message, position: document.locate(path), path })
    return undefined
  }
  const byName = new Map<string, (typeof read.data.endpoints)[number]>()
  for (const [index, endpoint] of read.data.endpoints.entries()) {
    const key = `${endpoint.namespace}/${endpoint.name}`
    if (byName.has(key)) {
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
  const origin = { locate: (path: Parameters<typeof document.locate>[0]) => document.locate(path) }
  return { kind: 'EndpointsFile', metadata: { ...EMPTY, name: file }, origin, endpoints: [...byName.values()] }
}
