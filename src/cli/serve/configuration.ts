import { compile, type Compiled, type CompileOptions } from '../../compile/compile.ts'
import { formatProblem, type Problem } from '../../config/problem.ts'
import type { ObjectSet } from '../../config/object-set.ts'
import type { Log } from '../../telemetry/log.ts'
import { InvalidResourcesError } from '../../xds/invalid-resources-error.ts'

export interface ConfigurationOptions {
  readonly compile: CompileOptions
  readonly log: Log
  /** Puts a compiled configuration into force. Throws (and changes nothing) when it cannot be. */
  readonly apply: (compiled: Compiled) => void
}

/** A configuration that cannot be used, as all its problems. */
export class ConfigurationError extends Error {
  readonly code = 'configuration'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(`the configuration is refused:\n${problems.map(problem => `  ${formatProblem(problem)}`).join('\n')}`)
    this.problems = problems
  }
}

/** Object sets in, configurations in force out: a bad set is reported whole, and what was in force stays. */
export class Configuration {
  readonly #options: ConfigurationOptions
  #inForce: Compiled | undefined
  #refused: readonly Problem[] = []

  constructor(options: ConfigurationOptions) {
    this.#options = options
  }

  take(set: ObjectSet): void {
    const { log } = this.#options
    if (set.errors.length > 0) return this.#refuse(set.errors)
    let compiled: Compiled
    try {
      compiled = compile(set.items, this.#options.compile)
      for (const problem of [...set.warnings, ...compiled.warnings]) log.warn(formatProblem(problem))
      if (compiled.errors.length > 0) return this.#refuse(compiled.errors)
      this.#options.apply(compiled)
    } catch (error) {
      return this.#refuse(
        error instanceof InvalidResourcesError
          ? error.problems
          : [{ severity: 'error', code: 'not-applicable', message: String(error) }],
      )
    }
    this.#inForce = compiled
    this.#refused = []
    const { plan } = compiled
    log.info(
      { version: plan.version, entries: plan.entries.length, pools: plan.pools.length },
      'configuration in force',
    )
  }

  /** @throws ConfigurationError unless some configuration is in force */
  throwUnlessApplied(): void {
    if (this.#inForce === undefined) throw new ConfigurationError(this.#refused)
  }

  /** For the admin port. */
  status(): unknown {
    return {
      version: this.#inForce?.plan.version,
      entries: this.#inForce?.plan.entries.map(({ id, name, body, model, prefixBytes }) => ({
        id,
        name,
        body,
        model,
        prefixBytes,
      })),
      statuses: this.#inForce?.statuses,
      warnings: this.#inForce?.warnings.map(formatProblem),
      refused: this.#refused.map(formatProblem),
    }
  }

  #refuse(problems: readonly Problem[]): void {
    this.#refused = problems
    for (const problem of problems) this.#options.log.error(formatProblem(problem))
    const kept =
      this.#inForce === undefined ? 'there is none in force' : `version ${this.#inForce.plan.version} stays in force`
    this.#options.log.error({ errors: problems.length }, `configuration refused; ${kept}`)
  }
}
