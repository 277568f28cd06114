import type { InferencePool } from '../config/kinds/inference-pool.ts'
import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import { MAX_BANDS } from '../inference/flow-control/flow-memory.ts'
import { compareAge } from './age.ts'
import type { ObjectIndex } from './object-index.ts'

/**
 * Priorities of a pool's InferenceObjectives by their names. With those of `bands`, which are configured, and 0 there may be `MAX_BANDS`:
 * objectives that go beyond are left out, the newest of them, so that whoever makes too many takes no place from the others.
 */
export function objectivesOf(
  objects: ObjectIndex,
  { metadata }: InferencePool,
  bands: readonly number[],
  problems: Problem[],
): Readonly<Record<string, number>> {
  const found = objects
    .all('InferenceObjective')
    .filter(each => each.metadata.namespace === metadata.namespace && each.spec.poolRef.name === metadata.name)
    .sort((a, b) => compareAge(a.metadata.creationTimestamp, b.metadata.creationTimestamp))
  const priorities = new Set([0, ...bands])
  const objectives: [string, number][] = []
  for (const objective of found) {
    const { priority } = objective.spec
    if (priorities.has(priority) || priorities.size < MAX_BANDS) {
      priorities.add(priority)
      objectives.push([objective.metadata.name, priority])
    } else {
      const message = `a pool has at most ${MAX_BANDS} priorities, with 0 and its priorityBands: the objective has no effect`
      // No error, which would refuse everybody's configuration.
      problems.push(problemAt(objective, 'warning', 'no-effect', ['spec', 'priority'], message))
    }
  }
  return Object.fromEntries(objectives.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** InferenceObjectives of pools that there are not. */
export function checkObjectives(objects: ObjectIndex, problems: Problem[]): void {
  for (const objective of objects.all('InferenceObjective')) {
    const pool = `${objective.metadata.namespace}/${objective.spec.poolRef.name}`
    if (objects.get('InferencePool', pool) !== undefined) continue
    const message = `there is no InferencePool ${pool}: the objective has no effect`
    problems.push(problemAt(objective, 'warning', 'unresolved-reference', ['spec', 'poolRef', 'name'], message))
  }
}
