import { formatPosition, type Problem, sortProblems } from './problem.ts'
import { type BrokenObject, type ConfigItem, readDocument } from './read-document.ts'
import { parseYaml } from './yaml-documents.ts'

/** A set of validated objects, or all the reasons why it isn't one. Warnings come with both. */
export interface ObjectSet {
  readonly items: readonly ConfigItem[]
  /** Objects that there were, good or bad, those of ignored kinds included. */
  readonly objects: number
  /** Objects with errors. */
  readonly broken?: readonly BrokenObject[]
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
}

export interface TextFile {
  readonly file: string
  readonly text: string
}

/** Reads texts into one set; pure. With errors, `items` holds what could be read all the same. */
export function readTexts(files: readonly TextFile[], problemsBefore: readonly Problem[] = []): ObjectSet {
  const items: ConfigItem[] = []
  const broken: BrokenObject[] = []
  let objects = 0
  const problems: Problem[] = [...problemsBefore]
  for (const { file, text } of files) {
    const parsed = parseYaml(text, file)
    problems.push(...parsed.problems)
    for (const document of parsed.documents) {
      const read = readDocument(document)
      items.push(...read.items)
      broken.push(...read.broken)
      objects += read.objects
      problems.push(...read.problems)
    }
    if (parsed.documents.length > 0 || parsed.problems.length > 0) continue
    const blank = text.trim() === ''
    problems.push({
      severity: blank ? 'error' : 'warning',
      code: 'empty-file',
      message: blank ? 'the file is empty' : 'the file has no document, only comments',
      position: { file },
    })
  }
  problems.push(...findDuplicates(items))
  const sorted = sortProblems(oncePerIgnoredKind(problems))
  return {
    items,
    objects,
    broken,
    errors: sorted.filter(problem => problem.severity === 'error'),
    warnings: sorted.filter(problem => problem.severity === 'warning'),
  }
}

/** What means nothing to us is told once a kind, at its first object: a folder of manifests has many. */
function oncePerIgnoredKind(problems: readonly Problem[]): Problem[] {
  const more = new Map<string, number>()
  const kept = problems.filter(({ code, message }) => {
    if (code !== 'ignored-kind') return true
    const before = more.get(message)
    more.set(message, before === undefined ? 0 : before + 1)
    return before === undefined
  })
  return kept.map(problem => {
    const others = problem.code === 'ignored-kind' ? (more.get(problem.message) ?? 0) : 0
    return others === 0 ? problem : { ...problem, message: `${problem.message} (and ${others} more)` }
  })
}

function findDuplicates(items: readonly ConfigItem[]): Problem[] {
  const problems: Problem[] = []
  const first = new Map<string, ConfigItem>()
  let parameters: ConfigItem | undefined
  for (const item of items) {
    const raw = item.kind === 'EnvoyResource'
    const name = raw ? item.name : `${item.metadata.namespace}/${item.metadata.name}`
    const key = raw ? `${item.type} ${name}` : `${item.kind} ${name}`
    const path = raw ? ['name'] : ['metadata', 'name']
    const before = first.get(key)
    if (before !== undefined) {
      const where = formatPosition(before.origin.locate(path))
      problems.push({
        severity: 'error',
        code: 'duplicate-object',
        message: `a second ${key}; the first is at ${where}`,
        position: item.origin.locate(path),
        path,
      })
    } else if (item.kind === 'SignalboxParameters' && parameters !== undefined) {
      const where = formatPosition(parameters.origin.locate(path))
      problems.push({
        severity: 'error',
        code: 'duplicate-object',
        message: `only one SignalboxParameters is supported; the first is at ${where}`,
        position: item.origin.locate(path),
        object: key,
        path,
      })
    }
    first.set(key, before ?? item)
    if (item.kind === 'SignalboxParameters') parameters ??= item
  }
  return problems
}
