import { badRequest } from './api-error.ts'
import type { SimContext } from './context.ts'
import type { Exchange } from './exchange.ts'
import { type GenerationReply, type ReplyFormat, streamedReply, wholeReply } from './generation-reply.ts'
import type { GenerationRequest } from './generation-request.ts'
import { LOAD_REPORT_FORMAT, loadReport } from './load-report.ts'
import { hashText, mix32, Random } from './random.ts'
import type { FinishReason, Sequence, SequenceRequest } from './sequence.ts'
import { StopStrings } from './stop-strings.ts'
import { TextGenerator } from './text-generator.ts'

/** Answers a chat or completion request; `prefilled`: its prompt was computed elsewhere. Throws an `ApiError` before anything is sent. */
export function generate(
  context: SimContext,
  exchange: Exchange,
  format: ReplyFormat,
  request: GenerationRequest,
  prefilled = false,
): void {
  const { engine, options, models, unixSeconds } = context
  const { record } = exchange
  record.stream = request.stream
  const model = models.resolve(request.model)
  record.model = model.name
  record.id = format.idPrefix + requestId(exchange, options.seed)
  const maxTokens = tokenBudget(request, options.maxModelLen)
  record.promptTokens = request.prompt.length

  const seed = textSeed(options.seed, request, model.lora)
  const generator = new TextGenerator(seed)
  const answer = reply(context, exchange, format, request, unixSeconds())
  const output = new Output(context, exchange, request, generator, answer)
  const sequence = engine.submit({
    id: record.id,
    prompt: request.prompt,
    ...(model.lora === undefined ? {} : { lora: model.lora }),
    ...(request.cacheSalt === undefined ? {} : { cacheSalt: request.cacheSalt }),
    prefilled,
    maxTokens,
    naturalLength: naturalLength(seed, request, options.minOutputTokens, options.maxOutputTokens),
    generate: index => generator.token(index),
    token: (index, reason) => output.token(sequence, index, reason),
    finished: (ended, reason) => output.finished(ended, reason),
  } satisfies SequenceRequest)
  exchange.onClose(() => engine.cancel(sequence))
}

/** Lets the engine compute a prompt without generating anything; resolves when that is done, never when the client left. */
export function prefill(
  context: SimContext,
  exchange: Exchange,
  prompt: Uint32Array,
  lora: string | undefined,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const sequence = context.engine.submit({
    id: exchange.record.id,
    prompt,
    ...(lora === undefined ? {} : { lora }),
    maxTokens: 0,
    naturalLength: 0,
    generate: () => 0,
    token: () => false,
    finished(ended, reason) {
      noteProgress(exchange, ended, reason)
      if (reason !== 'abort') resolve()
    },
  })
  exchange.onClose(() => context.engine.cancel(sequence))
  return promise
}

/** Turns the tokens of one sequence into an answer. */
class Output {
  readonly #context: SimContext
  readonly #exchange: Exchange
  readonly #request: GenerationRequest
  readonly #generator: TextGenerator
  readonly #reply: GenerationReply
  readonly #stops: StopStrings
  #prefix: string
  #dying = false

  constructor(
    context: SimContext,
    exchange: Exchange,
    request: GenerationRequest,
    generator: TextGenerator,
    reply: GenerationReply,
  ) {
    this.#context = context
    this.#exchange = exchange
    this.#request = request
    this.#generator = generator
    this.#reply = reply
    this.#stops = new StopStrings(request.stop, request.includeStop)
    this.#prefix = request.echo
  }

  token(sequence: Sequence, index: number, reason: FinishReason | undefined): boolean {
    if (this.#dying || this.#diesAfter(index)) return false
    const text = this.#stops.push(this.#generator.piece(index), reason !== undefined)
    const found = this.#stops.found
    const finish = found === undefined ? (reason ?? null) : 'stop'
    const usage = { prompt: sequence.request.prompt.length, completion: index + 1, cached: sequence.cachedTokens }
    const cut = this.#diesAfter(index + 1) ? () => this.#exchange.cut() : undefined
    this.#reply.text(this.#prefix + text, cut === undefined ? finish : null, found ?? null, usage, cut)
    this.#prefix = ''
    return found !== undefined
  }

  finished(sequence: Sequence, reason: FinishReason): void {
    noteProgress(this.#exchange, sequence, reason)
    if (reason === 'abort' || this.#dying) return
    const usage = {
      prompt: sequence.request.prompt.length,
      completion: sequence.generated,
      cached: sequence.cachedTokens,
    }
    // Nothing was to be generated (`echo` alone): there is no last token that carried the text.
    if (sequence.generated === 0) this.#reply.text(this.#request.echo, reason, null, usage)
    this.#reply.end(usage)
  }

  /** The fault `dieAfterTokens`, once `tokens` were sent. */
  #diesAfter(tokens: number): boolean {
    const limit = this.#context.faults.current.dieAfterTokens
    if (limit === undefined || tokens < limit) return false
    this.#dying = true
    if (tokens > limit || limit === 0) this.#exchange.cut()
    return true
  }
}

function noteProgress({ record }: Exchange, sequence: Sequence, reason: FinishReason): void {
  const since = (time: number | undefined) => (time === undefined ? null : time - sequence.arrivedAt)
  record.cachedTokens = sequence.cachedTokens
  record.completionTokens = sequence.generated
  record.finishReason = reason
  record.timings = {
    scheduledMs: since(sequence.scheduledAt),
    firstTokenMs: since(sequence.firstTokenAt),
    finishedMs: since(sequence.finishedAt),
  }
}

function reply(
  { engine, options }: SimContext,
  exchange: Exchange,
  format: ReplyFormat,
  request: GenerationRequest,
  created: number,
): GenerationReply {
  const identity = { id: exchange.record.id, created, model: exchange.record.model! }
  const asked = exchange.request.headers[LOAD_REPORT_FORMAT]
  const report = () => loadReport(engine, options.loadReports, typeof asked === 'string' ? asked : undefined)
  return request.stream
    ? streamedReply(exchange, format, identity, request, report)
    : wholeReply(exchange, format, identity, report)
}

/** The client's `x-request-id` as vLLM takes it, else a number that looks random and is not. */
function requestId({ request, record }: Exchange, seed: number): string {
  const given = request.headers['x-request-id']
  if (typeof given === 'string' && given !== '') return given
  return Array.from({ length: 4 }, (_, i) => mix32(mix32(seed, record.index), i).toString(16).padStart(8, '0')).join('')
}

/** Tokens that may be generated. Throws 400 when they do not fit into the context. */
function tokenBudget({ prompt, maxTokens }: GenerationRequest, context: number): number {
  checkPromptLength(prompt.length, context, maxTokens ?? 1)
  return maxTokens ?? context - prompt.length
}

/** Throws 400 when a prompt and `extra` more tokens do not fit into the context. */
export function checkPromptLength(length: number, context: number, extra: number): void {
  if (length + extra <= context) return
  const wanted = extra > 0 ? ` and ${extra} more to generate` : ''
  throw badRequest(
    `This model's maximum context length is ${context} tokens. However, your request has ${length} input tokens${wanted}. ` +
      'Please reduce the length of the input or the number of tokens to generate.',
    length >= context ? 'prompt' : 'max_tokens',
  )
}

function textSeed(seed: number, request: GenerationRequest, lora: string | undefined): number {
  let hash = mix32(hashText(lora ?? '', seed), request.seed)
  for (const token of request.prompt) hash = mix32(hash, token)
  return hash
}

/** Where the text ends by itself. */
function naturalLength(seed: number, request: GenerationRequest, low: number, high: number): number {
  if (request.ignoreEos) return Number.POSITIVE_INFINITY
  return Math.max(new Random(mix32(seed, 0xe05)).between(low, high), request.minTokens)
}
