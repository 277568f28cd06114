import { compileSet, type Compiled, type CompileOptions } from '../../compile/compile.ts'
import { formatProblem, type Problem } from '../../config/problem.ts'
import type { ObjectSet } from '../../config/object-set.ts'
import type { Log } from '../../telemetry/log.ts'
import { InvalidResourcesError } from '../../xds/invalid-resources-error.ts'

export interface ConfigurationOptions {
  readonly compile: CompileOptions
  readonly log: Log
  /**
   * An API server is followed: a first configuration may come late (those that are refused before it are logged, where else
   * `throwUnlessApplied` tells of them), and many changes come that are nobody's edit, so a problem is told once.
   */
  readonly mayWait: boolean
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
  /** Warnings and errors of the last set. */
  #told: ReadonlySet<string> = new Set()

  constructor(options: ConfigurationOptions) {
    this.#options = options
  }

  take(set: ObjectSet): void {
    const { log } = this.#options
    let compiled: Compiled
    try {
      compiled = compileSet(set, this.#options.compile)
      if (compiled.errors.length > 0) return this.#refuse(compiled.errors, compiled.warnings)
      this.#tell([], compiled.warnings)
      this.#options.apply(compiled)
    } catch (error) {
      return this.#refuse(
        error instanceof InvalidResourcesError
          ? error.problems
          : [{ severity: 'error', code: 'not-applicable', message: String(error) }],
        [],
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

  /** What is wrong with a set, be it in force or not. */
  errorsOf(set: ObjectSet): readonly Problem[] {
    return compileSet(set, this.#options.compile).errors
  }

  get isApplied(): boolean {
    return this.#inForce !== undefined
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

  #refuse(problems: readonly Problem[], warnings: readonly Problem[]): void {
    this.#refused = problems
    const { log, mayWait } = this.#options
    // The first one: `throwUnlessApplied` tells all of it.
    if (this.#inForce === undefined && !mayWait) return void this.#tell([], warnings)
    if (!this.#tell(problems, warnings)) return
    const stays =
      this.#inForce === undefined ? 'there is none yet' : `version ${this.#inForce.plan.version} stays in force`
    log.error({ errors: problems.length }, `configuration refused; ${stays}`)
  }

  /** Logs problems, or those that the last set did not have. Returns whether there was an error among them. */
  #tell(errors: readonly Problem[], warnings: readonly Problem[]): boolean {
    const { log, mayWait } = this.#options
    const told = new Set<string>()
    let isNew = false
    for (const problem of [...warnings, ...errors]) {
      const line = formatProblem(problem)
      told.add(line)
      if (mayWait && this.#told.has(line)) continue
      if (problem.severity === 'warning') log.warn(line)
      else {
        log.error(line)
        isNew = true
      }
    }
    this.#told = told
    return isNew
  }
}
