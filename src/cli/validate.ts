import { formatProblem } from '../config/problem.ts'
import { loadFiles } from '../config/load-files.ts'
import { compile } from '../compile/compile.ts'
import { ResourceRegistry } from '../xds/registry.ts'
import { SnapshotCache } from '../xds/snapshot-cache.ts'
import { InvalidResourcesError } from '../xds/invalid-resources-error.ts'
import { type Command, UsageError } from './command.ts'
import { parseOptions } from './options.ts'

export const validateCommand: Command = {
  summary: 'checks configuration files: all errors, with file, line and path',
  help: `Usage: signalbox validate FILE|FOLDER ...

Reads, checks and compiles the files as 'serve' would, without serving. Prints every error and warning with its place.
Exit status: 0 valid, 1 errors, 2 wrong usage.
`,
  async run(argv, { stdout }) {
    const { positionals } = parseOptions(argv, {}, true)
    if (positionals.length === 0) throw new UsageError('validate: name files or folders to check')
    const set = await loadFiles(positionals)
    const problems = [...set.errors, ...set.warnings]
    if (set.errors.length === 0) {
      const { envoy, errors, warnings } = compile(set.items, { extProc: { addresses: ['127.0.0.1:9002'] } })
      problems.push(...errors, ...warnings)
      if (errors.length === 0) {
        try {
          new SnapshotCache(new ResourceRegistry()).set(envoy)
        } catch (error) {
          if (!(error instanceof InvalidResourcesError)) throw error
          problems.push(...error.problems)
        }
      }
    }
    for (const problem of problems) stdout.write(`${formatProblem(problem)}\n`)
    const errors = problems.filter(problem => problem.severity === 'error').length
    stdout.write(`${set.items.length} objects, ${errors} errors, ${problems.length - errors} warnings\n`)
    return errors > 0 ? 1 : 0
  },
}
