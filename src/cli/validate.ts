import type { EnvoyResources } from '../config/envoy-resources.ts'
import { formatProblem, type Problem, sortProblems } from '../config/problem.ts'
import { loadFiles } from '../config/load-files.ts'
import { compileSet } from '../compile/compile.ts'
import { ResourceRegistry } from '../xds/registry.ts'
import { SnapshotCache } from '../xds/snapshot-cache.ts'
import { InvalidResourcesError } from '../xds/invalid-resources-error.ts'
import { type Command, UsageError } from './command.ts'
import { loadPlugins } from './load-plugins.ts'
import { parseOptions, parsePlugins } from './options.ts'

export const validateCommand: Command = {
  summary: 'checks configuration files: all errors, with file, line and path',
  help: `Usage: signalbox validate [--plugins FILE[,FILE ...]] FILE|FOLDER ...

Reads, checks and compiles the files as 'serve' would, without serving. Prints every error and warning with its place.
Exit status: 0 valid, 1 errors, 2 wrong usage.

  --plugins FILE[,FILE ...]   modules with plug-ins of your own, as for 'serve'
`,
  async run(argv, { stdout }) {
    const { values, positionals } = parseOptions(argv, { plugins: { type: 'string', multiple: true } }, true)
    if (positionals.length === 0) throw new UsageError('validate: name files or folders to check')
    await loadPlugins(parsePlugins(values.plugins))
    const set = await loadFiles(positionals)
    const { envoy, errors: found, warnings } = compileSet(set, { extProc: { addresses: ['127.0.0.1:9002'] } })
    const problems = sortProblems([...found, ...warnings, ...resourceProblems(envoy)])
    for (const problem of problems) stdout.write(`${formatProblem(problem)}\n`)
    const errors = problems.filter(problem => problem.severity === 'error').length
    const counts = [count(set.objects, 'object'), count(errors, 'error'), count(problems.length - errors, 'warning')]
    stdout.write(`${counts.join(', ')}\n`)
    return errors > 0 ? 1 : 0
  },
}

/** What Envoy's descriptors say of raw resources. */
function resourceProblems(envoy: EnvoyResources): readonly Problem[] {
  try {
    new SnapshotCache(new ResourceRegistry()).set(envoy)
    return []
  } catch (error) {
    if (!(error instanceof InvalidResourcesError)) throw error
    return error.problems
  }
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
