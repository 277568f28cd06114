/** The command line of `npm run contest`. */
import { parseArgs } from 'node:util'
import { HOLD_OUT, type Setup, TUNED, UNSEEN } from '../placement/setups.ts'
import { CONTESTANTS } from './contestants.ts'
import { type Api, API_PATHS } from './requests.ts'

/** Those of the placement benchmark that one pool of a gateway can play. */
const WORKLOADS = ['uniform', 'heavy-tail', 'chat', 'hot-prefix', 'bursts', 'lora', 'heterogeneous', 'dying']
const SETUPS = [TUNED, ...HOLD_OUT, ...UNSEEN]

export interface ContestOptions {
  readonly workloads: readonly string[]
  readonly contenders: readonly string[]
  readonly seeds: readonly number[]
  /** Of arrivals. */
  readonly seconds: number
  readonly setup: Setup
  readonly api: Api
  readonly atOnce: number
  /** Our simulator as model servers, whatever else is there. */
  readonly own: boolean
  readonly json: string | undefined
}

/** The message says what is wrong. */
export class ContestUsageError extends Error {
  readonly code = 'contest_usage'
  override readonly name = 'ContestUsageError'
}

export const HELP = `Usage: npm run contest -- [options]

Plays workloads of the placement benchmark against model servers through real Envoys, one contender after the other, and prints which
share of the requests was served in time. A run takes its seconds and a few more; all of them half an hour.

  --workload A,…     of ${WORKLOADS.join(', ')} [all]
  --contenders A,…   of ${CONTESTANTS.map(({ name }) => name).join(', ')} [all]
  --seed N,…         seeds of the workloads [101]
  --seconds N        of arrivals [40]
  --load N           as many times the usual requests a second [1]
  --slow-down N      everything takes this much longer when a replica is full [what the engine's options say]
  --engines NAME     of ${SETUPS.map(({ name }) => name).join(', ')} [tuned]
  --api NAME         completions or chat [completions]
  --at-once N        so many contenders side by side, each with model servers of its own: quicker, for machines with cores to spare [1]
  --own              model servers are our own simulator, not llm-d-inference-sim
  --json FILE        write all figures there
`

export function parseContestOptions(args: readonly string[]): ContestOptions | 'help' {
  const { values } = parse(args)
  if (values.help) return 'help'
  const setup = SETUPS.find(({ name }) => name === values.engines)
  if (setup === undefined) throw new ContestUsageError(`--engines ${values.engines}: there is no such name`)
  const load = positive('load', values.load)
  const slowest = values['slow-down'] === undefined ? undefined : positive('slow-down', values['slow-down'])
  if (slowest !== undefined && slowest < 1) throw new ContestUsageError('--slow-down must be at least 1')
  const [api] = names('api', values.api, Object.keys(API_PATHS)) as [Api]
  return {
    workloads: names('workload', values.workload, WORKLOADS),
    contenders: names(
      'contenders',
      values.contenders,
      CONTESTANTS.map(({ name }) => name),
    ),
    seeds: values.seed.split(',').map(text => {
      const seed = Number(text)
      if (text.trim() === '' || !Number.isInteger(seed))
        throw new ContestUsageError(`--seed ${text}: not a whole number`)
      return seed
    }),
    seconds: positive('seconds', values.seconds),
    setup: slowest === undefined ? loaded(setup, load) : slowed(loaded(setup, load), slowest),
    api,
    atOnce: Math.ceil(positive('at-once', values['at-once'])),
    own: values.own,
    json: values.json,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        workload: { type: 'string' },
        contenders: { type: 'string' },
        seed: { type: 'string', default: '101' },
        seconds: { type: 'string', default: '40' },
        load: { type: 'string', default: '1' },
        'slow-down': { type: 'string' },
        engines: { type: 'string', default: 'tuned' },
        api: { type: 'string', default: 'completions' },
        'at-once': { type: 'string', default: '1' },
        own: { type: 'boolean', default: false },
        json: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new ContestUsageError((error as Error).message)
  }
}

function names(option: string, text: string | undefined, all: readonly string[]): readonly string[] {
  if (text === undefined) return all
  const given = text.split(',')
  const unknown = given.filter(name => !all.includes(name))
  if (unknown.length > 0) throw new ContestUsageError(`--${option}: ${unknown.join(', ')} is none of ${all.join(', ')}`)
  return given
}

function positive(option: string, text: string): number {
  const value = Number(text)
  if (!(value > 0 && value < 1e6)) throw new ContestUsageError(`--${option} ${text}: not a number above 0`)
  return value
}

function loaded(setup: Setup, load: number): Setup {
  return { ...setup, pace: setup.pace / load }
}

/** `decodeGrowth` is what each further request adds. */
function slowed(setup: Setup, slowest: number): Setup {
  const { engine } = setup
  const decodeGrowth = (slowest - 1) / Math.max(1, engine.maxNumSeqs - 1)
  return { ...setup, engine: { ...engine, decodeGrowth } }
}
