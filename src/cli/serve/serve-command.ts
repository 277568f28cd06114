import { createLog } from '../../telemetry/log.ts'
import type { Command } from '../command.ts'
import { ConfigurationError } from './configuration.ts'
import { parseServeOptions, SERVE_HELP } from './options.ts'
import { Signalbox } from './signalbox.ts'
import { StartError } from './start-error.ts'

export const serveCommand: Command = {
  summary: 'runs Signalbox: xDS server, ext_proc service, admin port',
  help: SERVE_HELP,
  async run(argv, { stderr, signal }) {
    const options = parseServeOptions(argv)
    const log = createLog(options.logLevel)
    const signalbox = new Signalbox(options, log)
    try {
      await signalbox.start()
    } catch (error) {
      await signalbox.stop()
      if (!(error instanceof ConfigurationError) && !(error instanceof StartError)) throw error
      stderr.write(`signalbox: ${error.message}\n`)
      return 1
    }
    if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
    log.info({ reason: signal.reason }, 'draining')
    await signalbox.stop()
    return 0
  },
}
