import { formatProblem, type FieldPath, type Problem } from '../config/problem.ts'
import type { BrokenObject } from '../config/read-document.ts'

/**
 * What else is wrong where some objects have errors of their own already.
 *
 * @param without errors of compiling without those objects
 * @param mended errors of compiling with what could be mended of them
 */
export function errorsBeside(
  broken: readonly BrokenObject[],
  without: readonly Problem[],
  mended: readonly Problem[],
): readonly Problem[] {
  const lines = new Set(mended.map(formatProblem))
  const byName = new Map(broken.map(each => [each.object, each]))
  const own = mended.filter(problem => isOwn(byName.get(problem.object ?? ''), problem))
  const others = without.filter(
    problem =>
      problem.code !== 'unresolved-reference' || (lines.has(formatProblem(problem)) && !isMissing(broken, problem)),
  )
  return [...others, ...own]
}

/** No mere consequence of mending. */
function isOwn(broken: BrokenObject | undefined, { code, path = [] }: Problem): boolean {
  if (broken?.mended === undefined || code === 'required') return false
  const { changed, renamed } = broken.mended
  if (code === 'unresolved-reference' && renamed) return false
  return !changed.some(other => isWithin(path, other) || isWithin(other, path))
}

/** Only because an object could not be read. */
function isMissing(broken: readonly BrokenObject[], { message }: Problem): boolean {
  const rests = broken.map(({ object }) => message.split(`there is no ${object}`)[1])
  return rests.some(rest => rest !== undefined && !/^[\w.-]/.test(rest))
}

function isWithin(path: FieldPath, outer: FieldPath): boolean {
  return outer.every((part, i) => path[i] === part)
}
