import { problemAt } from '../config/object.ts'
import type { Problem } from '../config/problem.ts'
import { didYouMean } from '../config/suggest.ts'
import { SCORER_TYPES } from '../inference/scheduling/scorers/registry.ts'
import type { ObjectIndex } from './object-index.ts'

/** The configuration's floor doesn't know which scorers there are, so their names are checked here. */
export function checkScorers(objects: ObjectIndex, problems: Problem[]): void {
  for (const parameters of objects.all('SignalboxParameters')) {
    for (const [index, { type }] of (parameters.spec.scheduling.scorers ?? []).entries()) {
      if (SCORER_TYPES.includes(type)) continue
      const message = `there is no scorer "${type}"${didYouMean(type, SCORER_TYPES)}; known: ${SCORER_TYPES.join(', ')}`
      problems.push(
        problemAt(parameters, 'error', 'unknown-scorer', ['spec', 'scheduling', 'scorers', index, 'type'], message),
      )
    }
  }
}
