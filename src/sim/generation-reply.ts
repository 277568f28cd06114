import type { Exchange } from './exchange.ts'
import type { GenerationRequest } from './generation-request.ts'
import type { FinishReason } from './sequence.ts'

interface TokenUsage {
  readonly prompt: number
  readonly completion: number
  readonly cached: number
}

/** The shapes in which the two APIs wrap text. */
export interface ReplyFormat {
  readonly idPrefix: string
  readonly object: string
  readonly chunkObject: string
  /** The only choice of a whole answer. */
  choice(text: string, finish: FinishReason, stop: string | null): object
  /** The only choice of a chunk. */
  chunk(text: string, finish: FinishReason | null, stop: string | null): object
  /** Chunk in front of the first token, if the API has one. */
  readonly opening: object | undefined
  /** Members at the end of a whole answer. */
  readonly tail: object
}

export const chatFormat: ReplyFormat = {
  idPrefix: 'chatcmpl-',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  choice: (content, finish, stop) => ({
    index: 0,
    message: {
      role: 'assistant',
      content,
      refusal: null,
      annotations: null,
      audio: null,
      function_call: null,
      tool_calls: [],
      reasoning_content: null,
    },
    logprobs: null,
    finish_reason: finish,
    stop_reason: stop,
  }),
  chunk: (content, finish, stop) => ({
    index: 0,
    delta: { content },
    logprobs: null,
    finish_reason: finish,
    ...(finish === null ? {} : { stop_reason: stop }),
  }),
  opening: { index: 0, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null },
  tail: { prompt_logprobs: null, kv_transfer_params: null },
}

export const completionFormat: ReplyFormat = {
  idPrefix: 'cmpl-',
  object: 'text_completion',
  chunkObject: 'text_completion',
  choice: (text, finish, stop) => ({
    index: 0,
    text,
    logprobs: null,
    finish_reason: finish,
    stop_reason: stop,
    prompt_logprobs: null,
  }),
  chunk: (text, finish, stop) => ({ index: 0, text, logprobs: null, finish_reason: finish, stop_reason: stop }),
  opening: undefined,
  tail: { kv_transfer_params: null },
}

/** One answer on its way to the client, whole or as server-sent events. */
export interface GenerationReply {
  /** More text; `finish` with the last. `flushed` runs when the socket took what was written, at once when nothing was. */
  text(piece: string, finish: FinishReason | null, stop: string | null, usage: TokenUsage, flushed?: () => void): void
  end(usage: TokenUsage): void
}

interface Identity {
  readonly id: string
  readonly created: number
  readonly model: string
}

/** The load report that ends an answer, as headers; it may be none. */
export type LoadReporter = () => Record<string, string>

export function wholeReply(
  exchange: Exchange,
  format: ReplyFormat,
  identity: Identity,
  report: LoadReporter,
): GenerationReply {
  let content = ''
  let choice: object | undefined
  return {
    text(piece, finish, stop, _usage, flushed) {
      content += piece
      if (finish !== null) choice = format.choice(content, finish, stop)
      flushed?.()
    },
    end(usage) {
      const { id, created, model } = identity
      const answer = {
        id,
        object: format.object,
        created,
        model,
        choices: [choice],
        service_tier: null,
        system_fingerprint: null,
        usage: usageBody(usage),
        ...format.tail,
      }
      exchange.json(200, answer, report())
    },
  }
}

export function streamedReply(
  exchange: Exchange,
  format: ReplyFormat,
  identity: Identity,
  { includeUsage, continuousUsage }: Pick<GenerationRequest, 'includeUsage' | 'continuousUsage'>,
  report: LoadReporter,
): GenerationReply {
  const { id, created, model } = identity
  const event = (choices: readonly object[], usage: TokenUsage | undefined) => {
    const chunk = { id, object: format.chunkObject, created, model, choices }
    return `data: ${JSON.stringify(usage === undefined ? chunk : { ...chunk, usage: usageBody(usage) })}\n\n`
  }
  let opened = false
  const open = (usage: TokenUsage) => {
    if (opened) return
    opened = true
    const trailers = Object.keys(report()).join(', ')
    const announced = trailers === '' ? {} : { trailer: trailers }
    exchange.start(200, { 'content-type': 'text/event-stream; charset=utf-8', ...announced })
    if (format.opening === undefined) return
    exchange.write(event([format.opening], continuousUsage ? { ...usage, completion: 0 } : undefined))
  }
  return {
    text(piece, finish, stop, usage, flushed) {
      open(usage)
      // Text that is held back for a stop string makes no event.
      if (piece === '' && finish === null) flushed?.()
      else exchange.write(event([format.chunk(piece, finish, stop)], continuousUsage ? usage : undefined), flushed)
    },
    end(usage) {
      open(usage)
      if (includeUsage) exchange.write(event([], usage))
      exchange.end('data: [DONE]\n\n', report())
    },
  }
}

function usageBody({ prompt, completion, cached }: TokenUsage): object {
  return {
    prompt_tokens: prompt,
    total_tokens: prompt + completion,
    completion_tokens: completion,
    prompt_tokens_details: { cached_tokens: cached },
  }
}
