import type { z } from 'zod'
import type { FieldPath } from './problem.ts'
import { valueAt } from './value-at.ts'

/** What could be read of an object with errors: wrong fields are left out, or have some value that they may have. */
export interface MendedValue {
  readonly data: unknown
  /** Where it is not as it was written. */
  readonly changed: readonly FieldPath[]
  /** A name or a type was made up, so that what refers to it finds nothing. */
  readonly renamed: boolean
}

/** A value that was mended shows its next fault, a few times: of a union, or within what was made up. */
const ROUNDS = 4

/** So that one look tells all errors, also those that only a readable object has. Undefined: there is no mending it. */
export function mendValue(schema: z.ZodType, value: unknown): MendedValue | undefined {
  const copy = structuredClone(value)
  const changed: FieldPath[] = []
  let renamed = false
  for (let round = 0; round < ROUNDS; round++) {
    const parsed = schema.safeParse(copy)
    if (parsed.success) return { data: parsed.data, changed, renamed }
    for (const issue of parsed.error.issues) {
      const path = issue.path.map(part => (typeof part === 'number' ? part : String(part)))
      if (issue.code === 'unrecognized_keys') {
        const holder = valueAt(copy, path)
        for (const key of issue.keys) {
          if (typeof holder === 'object' && holder !== null) Reflect.deleteProperty(holder, key)
          changed.push([...path, key])
        }
        continue
      }
      const key = path.at(-1)
      const holder = valueAt(copy, path.slice(0, -1))
      if (key === undefined || typeof holder !== 'object' || holder === null) return undefined
      const before: unknown = Reflect.get(holder, key)
      const better = allowedValue(issue, before)
      changed.push(path)
      if ((key === 'name' || key === 'type') && better !== String(before)) renamed = true
      if (better !== undefined) Reflect.set(holder, key, better)
      // Without an element of a list, errors of the next ones would be told at the wrong place.
      else if (Array.isArray(holder)) return undefined
      else Reflect.deleteProperty(holder, key)
    }
  }
  return undefined
}

function allowedValue(issue: z.core.$ZodIssue, before: unknown): unknown {
  if (issue.code === 'too_big' && typeof before === 'number') return issue.maximum
  if (issue.code === 'too_small' && typeof before === 'number') return issue.minimum
  if (issue.code === 'invalid_value') return issue.values[0]
  if (issue.code !== 'invalid_type') return undefined
  switch (issue.expected) {
    case 'string':
      return typeof before === 'number' || typeof before === 'boolean' ? String(before) : 'unknown'
    case 'number':
    case 'int':
      return 1
    case 'boolean':
      return false
    case 'array':
      return []
    case 'object':
    case 'record':
      return {}
    default:
      return undefined
  }
}
