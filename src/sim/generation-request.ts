import { z } from 'zod'
import { badRequest } from './api-error.ts'
import { TokenBuffer } from './tokenizer.ts'

/** Fields that a text generator without a model cannot honour are refused where they would change the shape of the answer. */
const unsupported = (what: string) => `${what} not simulated`

const sampling = {
  model: z.string().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .looseObject({ include_usage: z.boolean().nullish(), continuous_usage_stats: z.boolean().nullish() })
    .nullish(),
  max_tokens: z.int().nullish(),
  min_tokens: z.int().min(0).nullish(),
  n: z
    .int()
    .nullish()
    .refine(n => n == null || n === 1, 'n other than 1 is not simulated'),
  seed: z.int().nullish(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1))], 'must be text or a list of texts').nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  ignore_eos: z.boolean().nullish(),
  cache_salt: z.string().min(1).nullish(),
  // Checked as vLLM checks them; they make no difference to a text that no model wrote.
  temperature: z.number().min(0).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  response_format: z
    .looseObject({ type: z.string() })
    .nullish()
    .refine(format => format == null || format.type === 'text', unsupported('a response_format other than text is')),
}

const textPart = z.looseObject({ type: z.literal('text'), text: z.string() })
const message = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(textPart)], 'must be text or a list of parts of type text').nullish(),
  tool_calls: z.array(z.unknown()).nullish(),
})

const chatSchema = z.looseObject({
  ...sampling,
  messages: z.array(message).min(1),
  max_completion_tokens: z.int().nullish(),
  logprobs: z
    .boolean()
    .nullish()
    .refine(value => value !== true, unsupported('logprobs are')),
  tools: z.array(z.looseObject({ type: z.string() })).nullish(),
  tool_choice: z
    .unknown()
    .refine(choice => choice == null || choice === 'auto' || choice === 'none', unsupported('forced tool calls are'))
    .optional(),
})

const tokenIds = z.array(z.int().min(0).max(0xffffffff)).min(1)
const completionSchema = z.looseObject({
  ...sampling,
  prompt: z.union(
    [z.string().min(1), z.array(z.string().min(1)).min(1), tokenIds],
    'must be text, a list with one text, or token ids, and not empty',
  ),
  echo: z.boolean().nullish(),
  logprobs: z
    .int()
    .nullish()
    .refine(value => value == null, unsupported('logprobs are')),
})

type Sampling = z.infer<z.ZodObject<typeof sampling>>
export type ChatMessage = z.infer<typeof message>
export { chatSchema, completionSchema, tokenIds }

/** A chat or completion request, checked, in the engine's terms. */
export interface GenerationRequest {
  /** As the client wrote it; absent: the first base model. */
  readonly model: string | undefined
  readonly prompt: Uint32Array
  /** Text to be repeated in front of the answer (`echo`). */
  readonly echo: string
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly continuousUsage: boolean
  /** As asked for; absent: what the context has room for. */
  readonly maxTokens: number | undefined
  readonly minTokens: number
  readonly seed: number
  readonly stop: readonly string[]
  readonly includeStop: boolean
  readonly ignoreEos: boolean
  readonly cacheSalt: string | undefined
}

export function chatRequest(body: z.infer<typeof chatSchema>): GenerationRequest {
  const prompt = chatPrompt(body.messages, body.tools ?? [])
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? undefined
  return common(body, prompt, maxTokens, '')
}

export function completionRequest(body: z.infer<typeof completionSchema>): GenerationRequest {
  const { prompt, echo } = body
  const list = typeof prompt === 'string' ? [prompt] : prompt
  if (typeof list[0] === 'string' && list.length > 1)
    throw badRequest('several prompts in one request are not simulated', 'prompt')
  if (echo === true && typeof list[0] !== 'string') throw badRequest('echo needs a prompt of text', 'echo')
  const tokens = new TokenBuffer()
  for (const part of list) {
    if (typeof part === 'string') tokens.text(part)
    else tokens.push(part)
  }
  // The completions API has a default of its own.
  const text = echo === true ? String(list[0]) : ''
  return common(body, tokens.view(), body.max_tokens ?? 16, text)
}

/** The stand-in for a model's chat template. */
export function chatPrompt(messages: readonly ChatMessage[], tools: readonly unknown[]): Uint32Array {
  const tokens = new TokenBuffer()
  if (tools.length > 0) tokens.special('tools').text(JSON.stringify(tools)).special('end')
  for (const { role, content, tool_calls: calls } of messages) {
    tokens.special(role)
    if (typeof content === 'string') tokens.text(content)
    else for (const part of content ?? []) tokens.text(part.text)
    if (calls != null) tokens.special('calls').text(JSON.stringify(calls))
    tokens.special('end')
  }
  return tokens.special('assistant').view()
}

function common(body: Sampling, prompt: Uint32Array, maxTokens: number | undefined, echo: string): GenerationRequest {
  if (maxTokens !== undefined && maxTokens < (echo === '' ? 1 : 0)) {
    throw badRequest(`max_tokens must be at least 1, got ${maxTokens}`, 'max_tokens')
  }
  if (body.stream_options != null && body.stream !== true) {
    throw badRequest('stream_options can only be set when stream is true', 'stream_options')
  }
  return {
    model: body.model ?? undefined,
    prompt,
    echo,
    stream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
    continuousUsage: body.stream_options?.continuous_usage_stats ?? false,
    maxTokens,
    minTokens: body.min_tokens ?? 0,
    seed: body.seed ?? 0,
    stop: typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []),
    includeStop: body.include_stop_str_in_output ?? false,
    ignoreEos: body.ignore_eos ?? false,
    cacheSalt: body.cache_salt ?? undefined,
  }
}
