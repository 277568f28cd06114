import { stringify } from 'yaml'
import { compileSet } from '../compile/compile.ts'
import { loadFiles } from '../config/load-files.ts'
import { formatProblem } from '../config/problem.ts'
import { type Command, UsageError } from './command.ts'
import { loadPlugins } from './load-plugins.ts'
import { parseOptions, parsePlugins, parseReachable } from './options.ts'
import { withoutSecrets } from './without-secrets.ts'

export const compileCommand: Command = {
  summary: 'prints what configuration files become: Envoy resources, data-path plan, statuses',
  help: `Usage: signalbox compile [--part envoy|plan|statuses] [--ext-proc HOST:PORT] [--secrets] [--plugins FILE[,FILE ...]] FILE|FOLDER ...

Prints the result of compiling the files as YAML: the resources that Envoy gets, the plan that the data path runs, and the
statuses of the objects. Private keys are left out.

  --part PART            only this part
  --ext-proc HOST:PORT   where Envoy would reach the ext_proc service [127.0.0.1:9002]
  --secrets              print private keys, too
  --plugins FILE[,FILE ...]   modules with plug-ins of your own, as for 'serve'
`,
  async run(argv, { stdout, stderr }) {
    const { values, positionals } = parseOptions(
      argv,
      {
        part: { type: 'string' },
        secrets: { type: 'boolean', default: false },
        plugins: { type: 'string', multiple: true },
        'ext-proc': { type: 'string', default: '127.0.0.1:9002' },
      },
      true,
    )
    const { part } = values
    if (part !== undefined && !isPart(part)) throw new UsageError(`--part: '${part}' is none of ${PARTS.join(', ')}`)
    const extProc = { addresses: [parseReachable(values['ext-proc'], '--ext-proc')] }
    if (positionals.length === 0) throw new UsageError('compile: name files or folders')
    await loadPlugins(parsePlugins(values.plugins))
    const set = await loadFiles(positionals)
    const { envoy, plan, statuses, errors, warnings } = compileSet(set, { extProc })
    for (const problem of [...errors, ...warnings]) stderr.write(`${formatProblem(problem)}\n`)
    if (errors.length > 0) return 1
    const parts = { envoy: values.secrets ? envoy : withoutSecrets(envoy), plan, statuses }
    const shown = part === undefined ? parts : parts[part]
    stdout.write(stringify(shown, { aliasDuplicateObjects: false, lineWidth: 140 }))
    return 0
  },
}

const PARTS = ['envoy', 'plan', 'statuses'] as const

function isPart(text: string): text is (typeof PARTS)[number] {
  return (PARTS as readonly string[]).includes(text)
}
