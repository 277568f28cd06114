import type { ObjectSet } from './object-set.ts'
import { type Problem, sortProblems } from './problem.ts'
import type { ConfigItem } from './read-document.ts'

/** The sets of two sources as one. Of objects that both have, the first's counts, with a warning. */
export function mergeSets(first: ObjectSet, second: ObjectSet): ObjectSet {
  const known = new Set(first.items.map(nameOf))
  const warnings: Problem[] = [...first.warnings, ...second.warnings]
  const items = [...first.items]
  for (const item of second.items) {
    if (!known.has(nameOf(item))) {
      items.push(item)
      continue
    }
    warnings.push({
      severity: 'warning',
      code: 'duplicate-object',
      message: 'a file has this object too, and that one counts',
      position: item.origin.locate([]),
      object: nameOf(item),
    })
  }
  return {
    items,
    objects: first.objects + second.objects,
    broken: [...(first.broken ?? []), ...(second.broken ?? [])],
    errors: sortProblems([...first.errors, ...second.errors]),
    warnings: sortProblems(warnings),
  }
}

function nameOf(item: ConfigItem): string {
  return item.kind === 'EnvoyResource'
    ? `${item.type} ${item.name}`
    : `${item.kind} ${item.metadata.namespace}/${item.metadata.name}`
}
