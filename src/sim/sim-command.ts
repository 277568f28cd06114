import { parseSimOptions, SIM_OPTIONS } from './cli-options.ts'
import { SimulatorOptionsError } from './options.ts'
import { type Simulator, startSimulator } from './simulator.ts'

export interface CommandContext {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  /** Ends the command. */
  readonly signal: AbortSignal
  /** Says in words what the system says of a port that cannot be had. */
  readonly explain?: (message: string) => string
}

/**
 * `signalbox sim`: serves until the signal aborts (exit status 0), or until fault `exit` ends it with its own status. Wrong
 * options give 2, a port that cannot be had 1.
 */
export async function runSimCommand(argv: readonly string[], context: CommandContext): Promise<number> {
  const { stdout, stderr, signal, explain = (message: string) => message } = context
  if (argv.includes('--help') || argv.includes('-h')) {
    stdout.write(simHelp())
    return 0
  }
  let simulator: Simulator
  try {
    simulator = await startSimulator(parseSimOptions(argv))
  } catch (error) {
    const isUsage = error instanceof SimulatorOptionsError
    const messages = isUsage ? error.messages : [explain((error as Error).message)]
    for (const message of messages) stderr.write(`signalbox sim: ${message}\n`)
    if (isUsage) stderr.write("See 'signalbox sim --help'.\n")
    return isUsage ? 2 : 1
  }
  stdout.write(`${simulator.name} serves at ${simulator.url}\n`)
  const aborted = Promise.withResolvers<number>()
  const abort = () => aborted.resolve(0)
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  const status = await Promise.race([aborted.promise, simulator.exited])
  signal.removeEventListener('abort', abort)
  await simulator.close()
  return status
}

/** The help page. */
export function simHelp(): string {
  const rows = SIM_OPTIONS.map(({ name, short, type, default: value, help }) => {
    const flag = `${short === undefined ? '    ' : `-${short}, `}--${name} ${type === 'fault' ? '<name=value>' : `<${type}>`}`
    return `  ${flag.padEnd(39)} ${help}${value === '' ? '' : ` [${value}]`}`
  })
  return [
    'Usage: signalbox sim [options]',
    '',
    'A vLLM-compatible model server without a model: queue, batch, KV cache, LoRA adapters and metrics are simulated.',
    'Durations are in milliseconds of simulated time.',
    '',
    ...rows,
    '',
  ].join('\n')
}
