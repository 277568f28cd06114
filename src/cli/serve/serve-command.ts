import { createLog } from '../../telemetry/log.ts'
import type { Command } from '../command.ts'
import { parseServeOptions } from './options.ts'
import { SERVE_HELP } from './serve-help.ts'
import { runSignalbox } from './run-signalbox.ts'

export const serveCommand: Command = {
  summary: 'runs Signalbox: xDS server, ext_proc service, admin port',
  help: SERVE_HELP,
  async run(argv, io) {
    const options = parseServeOptions(argv)
    return await runSignalbox(options, createLog(options.logLevel), io)
  },
}
