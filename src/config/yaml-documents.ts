import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Scalar,
  visit,
} from 'yaml'
import type { FieldPath, Position, Problem } from './problem.ts'

/** More aliases than this to one anchor's content is taken for a bomb. */
const MAX_ALIASES = 100
const MAX_LOOKED_UP = 1000
const MAX_PROBLEMS_PER_FILE = 50
/** Of a message about the syntax, which may quote any length of text. */
const MAX_MESSAGE = 160

/** One YAML document as plain data, with the way back to the text. */
export interface YamlDocument {
  readonly value: unknown
  /** Position of the deepest part of `path` that the text has (so that a missing field points to its parent). */
  locate(path: FieldPath): Position
}

export interface YamlResult {
  readonly documents: readonly YamlDocument[]
  readonly problems: readonly Problem[]
}

/** Parses YAML 1.2 (and so JSON) with several documents. Never throws; a file with syntax errors yields no document. */
export function parseYaml(text: string, file: string): YamlResult {
  const lines = new LineCounter()
  const problems: Problem[] = []
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { file, line, column: col }
  }
  const documents: YamlDocument[] = []
  const parsed = withoutStacks(() =>
    parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false, strict: true }),
  )
  const list: readonly Document.Parsed[] = Array.isArray(parsed) ? parsed : []
  for (const document of list) {
    for (const error of document.errors) {
      problems.push({
        severity: 'error',
        code: 'yaml',
        message: shortened(error.message),
        position: at(error.pos[0]),
      })
    }
    for (const warning of document.warnings) {
      problems.push({
        severity: 'error',
        code: 'yaml',
        message: shortened(warning.message),
        position: at(warning.pos[0]),
      })
    }
    const repeated = repeatedKeys(document)
    for (const { range } of repeated) {
      const message = 'Map keys must be unique'
      problems.push({ severity: 'error', code: 'duplicate-key', message, position: at(range?.[0] ?? 0) })
    }
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) continue
    if (document.errors.length > 0 || repeated.length > 0) continue
    const unresolved = unresolvedAliases(document)
    for (const { source, range } of unresolved) {
      const message = `there is no anchor "${source}" before this alias`
      problems.push({ severity: 'error', code: 'yaml', message, position: at(range?.[0] ?? 0) })
    }
    if (unresolved.length > 0) continue
    try {
      const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES })
      documents.push({ value, locate: path => at(offsetOf(document, path)) })
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      problems.push({ severity: 'error', code: 'yaml', message, position: at(document.contents.range[0]) })
    }
  }
  if (problems.length > MAX_PROBLEMS_PER_FILE) {
    const more = problems.length - MAX_PROBLEMS_PER_FILE
    problems.length = MAX_PROBLEMS_PER_FILE
    problems.push({ severity: 'error', code: 'yaml', message: `and ${more} more syntax errors`, position: { file } })
  }
  return { documents, problems }
}

/** Each syntax error is an `Error`, of which a text may have a hundred thousand, and nobody reads their stacks. */
function withoutStacks<T>(parse: () => T): T {
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return parse()
  } finally {
    Error.stackTraceLimit = before
  }
}

/** Keys that their map has already. The parser would compare each with all before it, which takes minutes for a large map. */
function repeatedKeys(document: Document.Parsed): Scalar[] {
  const result: Scalar[] = []
  visit(document, {
    Map: (_, map) => {
      const known = new Set<unknown>()
      for (const { key } of map.items) {
        if (!isScalar(key)) continue
        if (known.has(key.value)) result.push(key)
        known.add(key.value)
      }
    },
  })
  return result
}

/** Looking an alias up walks the document, so a document full of them isn't looked at any further. */
function unresolvedAliases(document: Document.Parsed): Alias[] {
  const result: Alias[] = []
  let left = MAX_LOOKED_UP
  visit(document, {
    Alias: (_, alias) => {
      if (alias.resolve(document) === undefined) result.push(alias)
      return --left > 0 ? undefined : visit.BREAK
    },
  })
  return result
}

function shortened(message: string): string {
  return message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message
}

function offsetOf(document: Document.Parsed, path: FieldPath): number {
  let node: Node | null = document.contents
  let offset = node?.range?.[0] ?? 0
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document) ?? null
    let next: unknown
    if (isMap(node)) {
      const pair: { key: unknown; value: unknown } | undefined = node.items.find(
        item => isScalar(item.key) && String(item.key.value) === String(part),
      )
      if (pair === undefined) break
      const key = pair.key as Node
      next = pair.value
      // A scalar's own place says more than its key's; a block's key is the better place to look.
      const target = isScalar(next) && next.range != null ? next : key
      offset = target.range?.[0] ?? offset
    } else if (isSeq(node) && typeof part === 'number') {
      next = node.items[part]
      if (next === undefined) break
      offset = (next as Node).range?.[0] ?? offset
    } else break
    node = (next ?? null) as Node | null
  }
  return offset
}
