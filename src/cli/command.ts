/** What every command of the CLI is. */
export interface Command {
  /** One line for the list of commands. */
  readonly summary: string
  /** The whole `--help` text. */
  readonly help: string
  /** Runs until done or until `signal` aborts; resolves with the exit status. Usage errors are `UsageError`s. */
  run(argv: readonly string[], io: CommandIo): Promise<number>
}

export interface CommandIo {
  readonly stdout: NodeJS.WritableStream
  readonly stderr: NodeJS.WritableStream
  /** SIGINT or SIGTERM came. */
  readonly signal: AbortSignal
}

/** The words of the call are off: shown without a stack, exit status 2. */
export class UsageError extends Error {
  readonly code = 'usage'
}
