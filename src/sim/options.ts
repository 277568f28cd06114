import { z } from 'zod'
import { ENGINES } from './engine-pages.ts'
import { type Faults, faultsSchema } from './faults.ts'
import { LOAD_REPORTS } from './load-report.ts'

/** Wrong options: all that is wrong with them, one message each. */
export class SimulatorOptionsError extends Error {
  override readonly name = 'SimulatorOptionsError'
  readonly code = 'invalid_options'
  readonly messages: readonly string[]

  constructor(messages: readonly string[]) {
    super(messages.join('\n'))
    this.messages = messages
  }
}

const positiveInt = z.int().min(1)
const duration = z.number().min(0)

const schema = z
  .strictObject({
    host: z.string().min(1).default('127.0.0.1'),
    /** 0: any free port. */
    port: z.int().min(0).max(65535).default(8000),
    /** Where KV cache events are published; 0: any free port, −1: nowhere. */
    kvEventsPort: z.int().min(-1).max(65535).default(-1),
    /** Where they can be had again; 0: any free port. */
    kvReplayPort: z.int().min(0).max(65535).default(0),
    /** The replica's name in `x-sim-replica`; empty: `sim-<port>`. */
    name: z
      .string()
      .regex(/^[\x21-\x7e]*$/, 'must be printable ASCII without blanks')
      .default(''),
    /** Base models under which the server is known; the first is the default. */
    models: z.array(z.string().min(1)).min(1).default(['llama']),
    /** Whose metrics page it has. */
    engine: z.enum(ENGINES).default('vllm'),
    /** Who gets a load report with an answer: in the headers of a whole one, in the trailers of a streamed one. */
    loadReports: z.enum(LOAD_REPORTS).default('asked'),
    /** LoRA adapters registered at the start. */
    loras: z.array(z.string().min(1)).default([]),
    maxLoras: z.int().min(0).default(4),
    loraLoadMs: duration.default(250),
    maxNumSeqs: positiveInt.default(32),
    maxNumBatchedTokens: positiveInt.default(2048),
    /** Longest prompt and answer together, tokens; 0: 32,768, or the whole cache when that is smaller. */
    maxModelLen: z.int().min(0).default(0),
    blockSize: positiveInt.max(4096).default(16),
    numGpuBlocks: positiveInt.max(1 << 26).default(4096),
    prefillBaseMs: duration.default(15),
    prefillMsPerToken: duration.default(0.1),
    /** Of keys and values from a prefill replica. */
    kvTransferMsPerToken: duration.default(0.005),
    decodeMs: duration.default(5),
    decodeGrowth: duration.default(0.02),
    /** How long a text is that ends by itself, tokens. */
    minOutputTokens: positiveInt.default(16),
    maxOutputTokens: positiveInt.default(128),
    embeddingDimensions: positiveInt.max(65536).default(64),
    /** Simulated time runs this much faster than the clock on the wall. */
    speed: z.number().gt(0).max(100_000).default(1),
    seed: z.int().default(0),
    maxBodyBytes: positiveInt.default(32 * 1024 * 1024),
    maxHeaderBytes: positiveInt.min(1024).default(64 * 1024),
    /** How many requests `GET /sim/requests` remembers. */
    recordedRequests: positiveInt.max(1_000_000).default(1000),
    /** Failure switches that are on from the start. */
    faults: faultsSchema.default({}),
  })
  .superRefine((options, context) => {
    const issue = (message: string) => context.addIssue({ code: 'custom', message })
    const capacity = options.blockSize * options.numGpuBlocks
    if (options.maxModelLen > capacity) {
      issue(`maxModelLen ${options.maxModelLen} does not fit into the KV cache of ${capacity} tokens`)
    }
    if (options.minOutputTokens > options.maxOutputTokens) issue('minOutputTokens is above maxOutputTokens')
    if (options.loras.length > 0 && options.maxLoras === 0) issue('loras need maxLoras of at least 1')
    const names = [...options.models, ...options.loras]
    if (new Set(names).size < names.length) issue('a model or adapter name is given twice')
  })

/** All options of a simulator; durations in simulated milliseconds. Every one has a default. */
export type SimulatorOptions = Partial<Omit<ResolvedOptions, 'faults'>> & { readonly faults?: Faults }
export type ResolvedOptions = Readonly<z.output<typeof schema>>
export type OptionKey = keyof ResolvedOptions

/** Fills in defaults. Throws `SimulatorOptionsError`. */
export function resolveOptions(options: SimulatorOptions): ResolvedOptions {
  const result = schema.safeParse(options)
  if (!result.success) {
    throw new SimulatorOptionsError(
      result.error.issues.map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message)),
    )
  }
  const resolved = result.data
  if (resolved.maxModelLen > 0) return resolved
  return { ...resolved, maxModelLen: Math.min(32_768, resolved.blockSize * resolved.numGpuBlocks) }
}
