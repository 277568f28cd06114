import { createLog } from '../../telemetry/log.ts'
import type { Command } from '../command.ts'
import { runSignalbox } from '../serve/run-signalbox.ts'
import { anyAddress } from './any-address.ts'
import { parseEppOptions } from './epp-options.ts'
import { EPP_HELP } from './help.ts'

export const eppCommand: Command = {
  summary: "runs the endpoint picker of an InferencePool, with the flags of llm-d's",
  help: EPP_HELP,
  async run(argv, io) {
    const { serve, notes } = parseEppOptions(argv, process.env, await anyAddress())
    const log = createLog(serve.logLevel)
    for (const note of notes) log.warn(note)
    return await runSignalbox(serve, log, io)
  },
}
