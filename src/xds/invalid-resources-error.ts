import { formatProblem, type Problem } from '../config/problem.ts'

/** Resources that Envoy could not read. Nothing of the set they belong to is used. `problems` has all of them, with paths. */
export class InvalidResourcesError extends Error {
  readonly code = 'INVALID_RESOURCES'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join('\n'))
    this.name = 'InvalidResourcesError'
    this.problems = problems
  }
}
