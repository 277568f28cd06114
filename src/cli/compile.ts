import { stringify } from 'yaml'
import { compile } from '../compile/compile.ts'
import { loadFiles } from '../config/load-files.ts'
import { formatProblem } from '../config/problem.ts'
import { type Command, UsageError } from './command.ts'
import { parseOptions } from './options.ts'

export const compileCommand: Command = {
  summary: 'prints what configuration files become: Envoy resources, data-path plan, statuses',
  help: `Usage: signalbox compile [--part envoy|plan|statuses] [--ext-proc HOST:PORT] FILE|FOLDER ...

Prints the result of compiling the files as YAML: the resources that Envoy gets, the plan that the data path runs, and the
statuses of the objects.

  --part PART            only this part
  --ext-proc HOST:PORT   where Envoy would reach the ext_proc service [127.0.0.1:9002]
`,
  async run(argv, { stdout, stderr }) {
    const { values, positionals } = parseOptions(
      argv,
      { part: { type: 'string' }, 'ext-proc': { type: 'string', default: '127.0.0.1:9002' } },
      true,
    )
    if (positionals.length === 0) throw new UsageError('compile: name files or folders')
    const set = await loadFiles(positionals)
    if (set.errors.length > 0) {
      for (const problem of set.errors) stderr.write(`${formatProblem(problem)}\n`)
      return 1
    }
    const { envoy, plan, statuses, errors, warnings } = compile(set.items, {
      extProc: { addresses: [values['ext-proc']] },
    })
    for (const problem of [...errors, ...warnings]) stderr.write(`${formatProblem(problem)}\n`)
    if (errors.length > 0) return 1
    const parts = { envoy, plan, statuses }
    const { part } = values
    if (part !== undefined && !(part in parts))
      throw new UsageError(`compile: --part is one of ${Object.keys(parts).join(', ')}`)
    stdout.write(
      stringify(part === undefined ? parts : parts[part as keyof typeof parts], {
        aliasDuplicateObjects: false,
        lineWidth: 140,
      }),
    )
    return 0
  },
}
