import type { FieldPath } from './problem.ts'

/** What stands at a path; undefined: nothing. */
export function valueAt(root: unknown, path: FieldPath): unknown {
  let value = root
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = Reflect.get(value, part)
  }
  return value
}
