import { parseArgs } from 'node:util'
import { type OptionKey, resolveOptions, type SimulatorOptions, SimulatorOptionsError } from './options.ts'

/** One option of `signalbox sim`, for the parser and for the help page. */
export interface SimCliOption {
  /** Without the dashes. */
  readonly name: string
  readonly short?: string
  readonly type: 'string' | 'number' | 'fault'
  /** May be given several times. */
  readonly multiple: boolean
  /** As the help page shows it; empty: none. */
  readonly default: string
  readonly help: string
  readonly key: OptionKey
}

const defaults = resolveOptions({})

function option(name: string, key: OptionKey, help: string, shown?: string): SimCliOption {
  const value = defaults[key]
  const multiple = Array.isArray(value)
  const type = typeof value === 'number' ? 'number' : 'string'
  return {
    name,
    key,
    help,
    multiple,
    type,
    default: shown ?? (Array.isArray(value) ? value.join(', ') : typeof value === 'object' ? '' : String(value)),
  }
}

export const SIM_OPTIONS: readonly SimCliOption[] = [
  { ...option('port', 'port', 'port to listen on; 0 takes a free one'), short: 'p' },
  option('host', 'host', 'address to listen on'),
  option(
    'kv-events',
    'kvEventsPort',
    'port of a ZMQ PUB socket that tells of KV cache blocks; 0 takes a free one',
    'off',
  ),
  option('kv-replay', 'kvReplayPort', 'port of a ZMQ ROUTER socket that tells of them again', 'any free one'),
  option('name', 'name', "the replica's name, sent as x-sim-replica", 'sim-<port>'),
  { ...option('model', 'models', 'base model to serve; repeat for more names'), short: 'm' },
  option('engine', 'engine', 'whose metrics page it has: vllm, sglang, trtllm-serve or triton-tensorrt-llm'),
  option('load-reports', 'loadReports', 'who gets ORCA reports: asked, off, or everybody as TEXT, JSON or BIN'),
  option('lora', 'loras', 'LoRA adapter to serve; repeat for more'),
  option('max-loras', 'maxLoras', 'adapters on the GPU at once'),
  option('lora-load-ms', 'loraLoadMs', 'time to load an adapter'),
  option('max-num-seqs', 'maxNumSeqs', 'requests that run at once; the others queue'),
  option('max-num-batched-tokens', 'maxNumBatchedTokens', 'tokens computed in one step, prompts and answers together'),
  option('max-model-len', 'maxModelLen', 'context length in tokens'),
  option('block-size', 'blockSize', 'tokens in a block of KV cache'),
  option('num-gpu-blocks', 'numGpuBlocks', 'blocks of KV cache'),
  option('prefill-base-ms', 'prefillBaseMs', 'time that a step with any prompt takes besides its tokens'),
  option('prefill-ms-per-token', 'prefillMsPerToken', 'time for a prompt token that is not cached'),
  option(
    'kv-transfer-ms-per-token',
    'kvTransferMsPerToken',
    "time for a prompt token's keys and values from a prefill replica",
  ),
  option('decode-ms', 'decodeMs', 'time for a generated token'),
  option('decode-growth', 'decodeGrowth', 'share of decode-ms that each further running request adds'),
  option('min-output-tokens', 'minOutputTokens', 'shortest text that ends by itself'),
  option('max-output-tokens', 'maxOutputTokens', 'longest text that ends by itself'),
  option('embedding-dimensions', 'embeddingDimensions', 'length of embedding vectors'),
  option('speed', 'speed', 'how many times faster than real time the engine runs'),
  option('seed', 'seed', 'number that decides texts, vectors and random failures'),
  option('max-body-bytes', 'maxBodyBytes', 'largest request body; beyond it 413'),
  option('max-header-bytes', 'maxHeaderBytes', 'largest request header; beyond it 431'),
  option('recorded-requests', 'recordedRequests', 'requests that GET /sim/requests remembers'),
  {
    name: 'fault',
    key: 'faults',
    type: 'fault',
    multiple: true,
    default: '',
    help: 'failure switch that is on from the start, such as errorShare=0.2 or hang=true (see POST /sim/fault)',
  },
]

/** Reads the command line. Throws `SimulatorOptionsError` with everything that is wrong. */
export function parseSimOptions(argv: readonly string[]): SimulatorOptions {
  const values = parse(argv)
  const errors: string[] = []
  const options: Partial<Record<OptionKey, unknown>> = {}
  for (const { name, key, type } of SIM_OPTIONS) {
    const value = values[name]
    if (value === undefined) continue
    if (type === 'fault') options[key] = faultValues(value as string[], errors)
    else if (type === 'number') options[key] = numberValue(name, value as string, errors)
    else options[key] = value
  }
  if (errors.length > 0) throw new SimulatorOptionsError(errors)
  resolveOptions(options as SimulatorOptions)
  return options as SimulatorOptions
}

function parse(argv: readonly string[]): Record<string, unknown> {
  const options = Object.fromEntries(
    SIM_OPTIONS.map(({ name, short, multiple }) => [
      name,
      { type: 'string' as const, multiple, ...(short === undefined ? {} : { short }) },
    ]),
  )
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: false }).values
  } catch (error) {
    throw new SimulatorOptionsError([error instanceof Error ? error.message : String(error)])
  }
}

function numberValue(name: string, text: string, errors: string[]): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (Number.isNaN(value)) errors.push(`--${name} needs a number, not '${text}'`)
  return value
}

function faultValues(list: readonly string[], errors: string[]): Record<string, unknown> {
  const faults: Record<string, unknown> = {}
  for (const text of list) {
    const [, name, value] = /^([A-Za-z]+)=(.+)$/.exec(text) ?? []
    if (name === undefined || value === undefined) errors.push(`--fault needs name=value, not '${text}'`)
    else faults[name] = jsonOrText(value)
  }
  return faults
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
