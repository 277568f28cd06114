import { flushCompileCache } from 'node:module'
import { didYouMean } from '../config/suggest.ts'
import { type Command, UsageError } from './command.ts'
import { StartError } from './serve/start-error.ts'
import { readVersion } from './version.ts'

/** Commands by name; each is loaded when it is called. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./serve/serve-command.ts')).serveCommand,
  epp: async () => (await import('./epp/epp-command.ts')).eppCommand,
  demo: async () => (await import('./demo/demo-command.ts')).demoCommand,
  replay: async () => (await import('./replay.ts')).replayCommand,
  sim: async () => (await import('./sim.ts')).simCommand,
  validate: async () => (await import('./validate.ts')).validateCommand,
  manifests: async () => (await import('./manifests/manifests-command.ts')).manifestsCommand,
  compile: async () => (await import('./compile.ts')).compileCommand,
  bootstrap: async () => (await import('./bootstrap.ts')).bootstrapCommand,
  envoy: async () => (await import('./envoy/envoy-command.ts')).envoyCommand,
}

async function help(): Promise<string> {
  const lines = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) => `  ${name.padEnd(10)} ${(await load()).summary}`),
  )
  return `Usage: signalbox COMMAND [options]
       signalbox FLAGS              as 'signalbox epp FLAGS': in the place of llm-d's endpoint picker only the image changes

Signalbox decides while Envoy carries the bytes: an Envoy external processor and an xDS management server in one.

Commands:
${lines.join('\n')}

'signalbox COMMAND --help' tells the options of a command, 'signalbox --version' which one this is.
`
}

/** Without a command's name. */
const OWN_FLAGS: readonly string[] = ['--help', '-h', '--version', '-V']

async function main(argv: readonly string[]): Promise<number> {
  // What runs llm-d's endpoint picker gives its image flags, and no command.
  const isPicker = argv[0]?.startsWith('-') === true && !OWN_FLAGS.includes(argv[0])
  const [name, ...rest] = isPicker ? ['epp', ...argv] : argv
  if (name === undefined) {
    process.stderr.write(await help())
    return 2
  }
  if (name === 'help' && rest[0] !== undefined) return await main([rest[0], '--help'])
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(await help())
    return 0
  }
  if (name === '--version' || name === '-V' || name === 'version') {
    process.stdout.write(`signalbox ${await readVersion()} (Node.js ${process.version})\n`)
    return 0
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (load === undefined) {
    const hint = didYouMean(name, Object.keys(COMMANDS))
    throw new UsageError(`there is no command '${name}'${hint}; see 'signalbox --help'`)
  }
  const command = await load()
  // Where a compile cache is kept (bin/signalbox): a server may be killed, and this takes 0.1 s when it is new, so before anything is served.
  flushCompileCache()
  if (rest.includes('--help') || rest.includes('-h')) {
    process.stdout.write(command.help)
    return 0
  }
  const abort = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => abort.abort(signal))
  return await command.run(rest, { stdout: process.stdout, stderr: process.stderr, signal: abort.signal })
}

// Who reads us may have had enough (`| head`); anything else that keeps output from being written is a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  process.stderr.write(`signalbox: cannot write to standard output: ${error.message}\n`)
  process.exit(1)
})
process.stderr.on('error', () => {})

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`signalbox: ${error.message}\n`)
    process.exitCode = 2
  } else if (error instanceof StartError) {
    process.stderr.write(`signalbox: ${error.message}\n`)
    process.exitCode = 1
  } else {
    process.stderr.write(`signalbox: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    process.exitCode = 1
  }
}
