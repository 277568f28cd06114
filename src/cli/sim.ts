import { runSimCommand, simHelp } from '../sim/sim-command.ts'
import type { Command } from './command.ts'
import { explainSystemError } from './system-error.ts'

export const simCommand: Command = {
  summary: 'a vLLM-compatible model server without a model, for tests and demos',
  help: simHelp(),
  run: (argv, io) => runSimCommand(argv, { ...io, explain: explainSystemError }),
}
