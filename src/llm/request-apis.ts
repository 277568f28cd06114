/**
 * Which API a request speaks, by its path, and what its body must then have: the parsers of an EndpointPickerConfig (epp.md §1.6, §3.12).
 * What else is checked of a body are the types of some of its fields (./request-shapes.ts): engines do the rest better, and what is checked
 * twice is paid for twice.
 */
import type { OutputCapField } from './output-caps.ts'
import { shapeOf } from './request-shapes.ts'

/** A top-level field that a body cannot do without. */
export interface RequiredField {
  readonly name: RequestField
  /** `list`: an array with elements. `text`: a string that is not empty, or an array with elements. `any`: not null. */
  readonly form: 'list' | 'text' | 'any'
}

export type RequestField = 'messages' | 'prompt' | 'input'

/** Messages that gRPC methods take (src/pipeline/grpc-body.ts). */
export type GrpcApi = 'vertex' | 'vllm'

export interface RequestApi {
  /** For people. */
  readonly name: string
  readonly needsModel: boolean
  readonly required?: RequiredField
  /** What the fields of its body are: a node of `REQUEST_SHAPES`. Absent: anything. */
  readonly shape?: number
  /** Where its requests may cap the answer's tokens; the first that does counts. Absent: they don't. */
  readonly outputCap?: readonly OutputCapField[]
  /** Nothing of the response is read. */
  readonly plainResponse?: boolean
  /** The body is a gRPC message. Its model, where it has one, cannot be rewritten. */
  readonly grpc?: GrpcApi
}

export interface ParserPaths {
  /** Without the first slash. */
  readonly suffix: string
  readonly api: RequestApi
}

const CHAT: RequestApi = {
  name: 'chat completions',
  needsModel: true,
  required: { name: 'messages', form: 'list' },
  shape: shapeOf('chat'),
  outputCap: ['max_completion_tokens', 'max_tokens'],
}
const COMPLETIONS: RequestApi = {
  name: 'completions',
  needsModel: true,
  required: { name: 'prompt', form: 'text' },
  shape: shapeOf('completions'),
  outputCap: ['max_tokens'],
}
const MESSAGES: RequestApi = {
  name: 'messages',
  needsModel: true,
  required: { name: 'messages', form: 'list' },
  shape: shapeOf('messages'),
  outputCap: ['max_tokens'],
}
const RESPONSES: RequestApi = {
  name: 'responses',
  needsModel: true,
  required: { name: 'input', form: 'any' },
  shape: shapeOf('salted'),
  outputCap: ['max_output_tokens'],
}
const IN_VERTEX = { needsModel: false, grpc: 'vertex' } as const
const VLLM_GRPC = { needsModel: false, grpc: 'vllm', required: { name: 'input', form: 'any' } } as const

const PARSERS: Readonly<Record<string, readonly ParserPaths[]>> = {
  'openai-parser': [
    { suffix: 'chat/completions', api: CHAT },
    { suffix: 'chat/completions/render', api: { ...CHAT, plainResponse: true } },
    { suffix: 'completions', api: COMPLETIONS },
    { suffix: 'completions/render', api: { ...COMPLETIONS, plainResponse: true } },
    {
      suffix: 'embeddings',
      api: {
        name: 'embeddings',
        needsModel: true,
        required: { name: 'input', form: 'text' },
        shape: shapeOf('salted'),
      },
    },
    { suffix: 'responses', api: RESPONSES },
    {
      suffix: 'conversations',
      api: { name: 'conversations', needsModel: false, shape: shapeOf('conversations') },
    },
    {
      suffix: 'images/generations',
      api: { name: 'image generations', needsModel: false, required: { name: 'prompt', form: 'text' } },
    },
  ],
  'anthropic-parser': [
    { suffix: 'messages', api: MESSAGES },
    { suffix: 'messages/count_tokens', api: { ...MESSAGES, plainResponse: true, outputCap: [] } },
  ],
  'vllmhttp-parser': [
    {
      suffix: 'inference/v1/generate',
      api: { name: 'vLLM generate', needsModel: true, outputCap: ['sampling_params.max_tokens'] },
    },
  ],
  // SGLang's own API has no model.
  'sglanghttp-parser': [
    {
      suffix: 'generate',
      api: { name: 'SGLang generate', needsModel: false, outputCap: ['sampling_params.max_new_tokens'] },
    },
  ],
  'vllmgrpc-parser': [
    {
      suffix: 'vllm.grpc.engine.VllmEngine/Generate',
      api: { ...VLLM_GRPC, name: 'vLLM Generate', outputCap: ['sampling_params.max_tokens'] },
    },
    { suffix: 'vllm.grpc.engine.VllmEngine/Embed', api: { ...VLLM_GRPC, name: 'vLLM Embed' } },
  ],
  // JSON of OpenAI's APIs, in envelopes.
  'vertexai-parser': [
    { suffix: 'PredictionService/ChatCompletions', api: { ...CHAT, ...IN_VERTEX } },
    { suffix: 'PredictionService/StreamRawPredict', api: { ...RESPONSES, ...IN_VERTEX } },
    { suffix: 'PredictionService/RawPredict', api: { ...RESPONSES, ...IN_VERTEX } },
  ],
  'passthrough-parser': [],
}

export const PARSER_TYPES: readonly string[] = Object.keys(PARSERS)

/** llm-d's, where a configuration names none. */
export const DEFAULT_PARSERS: readonly string[] = [
  'openai-parser',
  'anthropic-parser',
  'vllmhttp-parser',
  'passthrough-parser',
]

/** What is known of a path that no parser claims. */
export const PASSED_THROUGH: RequestApi = { name: 'pass-through', needsModel: false }

const MAX_KNOWN_PATHS = 1024

/** The parsers of a configuration, in its order. */
export class RequestApis {
  readonly #suffixes: readonly { readonly text: string; readonly api: RequestApi }[]
  readonly #fallback: RequestApi | undefined
  readonly #known = new Map<string, RequestApi | undefined>()

  /** `own`: what users' own parsers claim. */
  constructor(parsers: readonly string[], own: (type: string) => readonly ParserPaths[] = () => []) {
    const claimed = parsers.flatMap(type => PARSERS[type] ?? own(type))
    // The longest first; sorting is stable, so that of equal ones the first parser's comes first.
    this.#suffixes = claimed
      // A gRPC service may stand in any package.
      .map(({ suffix, api }) => ({ text: api.grpc === 'vertex' ? suffix : `/${suffix}`, api }))
      .sort((a, b) => b.text.length - a.text.length)
    this.#fallback = parsers.includes('passthrough-parser') ? PASSED_THROUGH : undefined
  }

  /** The API of a path without query; undefined: no parser takes it. */
  find(path: string): RequestApi | undefined {
    if (this.#known.has(path)) return this.#known.get(path)
    let end = path.length
    while (end > 1 && path.charCodeAt(end - 1) === SLASH) end--
    const plain = path.slice(0, end)
    const found = this.#suffixes.find(({ text }) => plain.endsWith(text))?.api ?? this.#fallback
    // Clients make up paths.
    if (this.#known.size === MAX_KNOWN_PATHS) this.#known.clear()
    this.#known.set(path, found)
    return found
  }
}

const SLASH = 0x2f
