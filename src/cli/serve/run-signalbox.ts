import type { Log } from '../../telemetry/log.ts'
import type { CommandIo } from '../command.ts'
import { ConfigurationError } from './configuration.ts'
import type { ServeOptions } from './options.ts'
import { Signalbox } from './signalbox.ts'
import { StartError } from './start-error.ts'

/** Runs a Signalbox until the signal comes; resolves with the exit status. */
export async function runSignalbox(options: ServeOptions, log: Log, { stderr, signal }: CommandIo): Promise<number> {
  const signalbox = new Signalbox(options, log)
  try {
    await signalbox.start(signal)
  } catch (error) {
    const ended = signal.aborted
    if (ended) log.info({ reason: signal.reason }, 'ends before it has started')
    await signalbox.stop()
    if (ended) return 0
    if (!(error instanceof ConfigurationError) && !(error instanceof StartError)) throw error
    stderr.write(`signalbox: ${error.message}\n`)
    return 1
  }
  if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
  log.info({ reason: signal.reason }, 'draining')
  await signalbox.stop()
  return 0
}
