import type { InferencePool } from '../config/kinds/inference-pool.ts'
import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import { MAX_BANDS } from '../inference/flow-control/flow-memory.ts'
import type { ObjectIndex } from './object-index.ts'

/** Priorities of a pool's InferenceObjectives by their names. */
export function objectivesOf(
  objects: ObjectIndex,
  { metadata }: InferencePool,
  problems: Problem[],
): Readonly<Record<string, number>> {
  const found = objects
    .all('InferenceObjective')
    .filter(each => each.metadata.namespace === metadata.namespace && each.spec.poolRef.name === metadata.name)
  const priorities = new Set([0])
  const objectives: [string, number][] = []
  for (const objective of found) {
    const { priority } = objective.spec
    priorities.add(priority)
    if (priorities.size < MAX_BANDS) objectives.push([objective.metadata.name, priority])
    else {
      const message = `more than ${MAX_BANDS - 2} different priorities in one pool are not supported`
      problems.push(problemAt(objective, 'error', 'invalid-value', ['spec', 'priority'], message))
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
