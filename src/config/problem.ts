/** A path inside an object, e.g. `['spec', 'rules', 0, 'matches']`. */
export type FieldPath = readonly (string | number)[]

/** Where something was written. Lines and columns count from 1; sources without text (an API server) have none. */
export interface Position {
  readonly file: string
  readonly line?: number
  readonly column?: number
}

/** One thing wrong with a configuration. An error refuses the whole set; a warning is shown and the set is used. */
export interface Problem {
  readonly severity: 'error' | 'warning'
  /** Stable, for tools: `unknown-field`, `duplicate-object`, `port-conflict` … */
  readonly code: string
  readonly message: string
  readonly position?: Position
  /** `Kind namespace/name` */
  readonly object?: string
  readonly path?: FieldPath
}

/** `spec.rules[0].matches[1]` */
function formatPath(path: FieldPath): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (/^[A-Za-z_$@][\w$-]*$/.test(part)) text += text === '' ? part : `.${part}`
    else text += `[${JSON.stringify(part)}]`
  }
  return text
}

/** `file:line:column` with the parts that are known. */
export function formatPosition(position: Position): string {
  if (position.line === undefined) return position.file
  return `${position.file}:${position.line}:${position.column ?? 1}`
}

/** One line for people: `routes.yaml:12:5: error: HTTPRoute default/chat: spec.rules[0]: … (unknown-field)`. */
export function formatProblem(problem: Problem): string {
  const parts: string[] = []
  if (problem.position !== undefined) parts.push(formatPosition(problem.position))
  parts.push(problem.severity)
  if (problem.object !== undefined) parts.push(problem.object)
  if (problem.path !== undefined && problem.path.length > 0) parts.push(formatPath(problem.path))
  return `${parts.join(': ')}: ${problem.message} (${problem.code})`
}

/** Order by file and line, so that a report reads like the files do. */
export function sortProblems(problems: readonly Problem[]): Problem[] {
  return [...problems].sort((a, b) => {
    const [pa, pb] = [a.position, b.position]
    return (
      compareText(pa?.file ?? '', pb?.file ?? '') ||
      (pa?.line ?? 0) - (pb?.line ?? 0) ||
      (pa?.column ?? 0) - (pb?.column ?? 0)
    )
  })
}

/** Byte-wise order, the same in every locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
