import { z } from 'zod'
import { badRequest } from './api-error.ts'
import type { SimContext } from './context.ts'
import type { Exchange } from './exchange.ts'
import {
  chatPrompt,
  chatRequest,
  chatSchema,
  completionRequest,
  completionSchema,
  type GenerationRequest,
} from './generation-request.ts'
import { parseJsonBody } from './json-body.ts'
import { TokenBuffer } from './tokenizer.ts'

const PLAIN = 'text/plain; charset=utf-8'

const tokenizeSchema = z
  .looseObject({
    model: z.string().nullish(),
    prompt: z.string().nullish(),
    messages: chatSchema.shape.messages.nullish(),
    tools: chatSchema.shape.tools,
  })
  .refine(body => (body.prompt == null) !== (body.messages == null), 'give either prompt or messages')

/** `POST /tokenize`: what the tokenizer stand-in makes of a prompt or a conversation. */
export function tokenize({ models, options }: SimContext, exchange: Exchange): void {
  const { model, prompt, messages, tools } = parseJsonBody(exchange.body, tokenizeSchema)
  models.resolve(model ?? undefined)
  const tokens = prompt == null ? chatPrompt(messages ?? [], tools ?? []) : new TokenBuffer().text(prompt).view()
  exchange.json(200, {
    count: tokens.length,
    max_model_len: options.maxModelLen,
    tokens: [...tokens],
    token_strs: null,
  })
}

/** `POST /v1/completions/render`: a list with the request as the engine gets it, in tokens. */
export function renderCompletion(context: SimContext, exchange: Exchange): void {
  exchange.json(200, [rendered(context, completionRequest(parseJsonBody(exchange.body, completionSchema)))])
}

/** `POST /v1/chat/completions/render` */
export function renderChat(context: SimContext, exchange: Exchange): void {
  exchange.json(200, rendered(context, chatRequest(parseJsonBody(exchange.body, chatSchema))))
}

function rendered({ models }: SimContext, { model, prompt, cacheSalt }: GenerationRequest): object {
  return {
    model: models.resolve(model).name,
    token_ids: [...prompt],
    ...(cacheSalt === undefined ? {} : { cache_salt: cacheSalt }),
  }
}

const loadSchema = z.looseObject({ lora_name: z.string().min(1), lora_path: z.string().min(1) })

/** `POST /v1/load_lora_adapter`: registers an adapter under a name. */
export function loadAdapter({ models, options }: SimContext, exchange: Exchange): void {
  const { lora_name: name, lora_path: path } = parseJsonBody(exchange.body, loadSchema)
  if (options.maxLoras === 0) throw badRequest('LoRA is off: the simulator runs with max-loras 0.')
  models.load(name, path)
  exchange.send(200, PLAIN, `Success: LoRA adapter '${name}' added successfully.`)
}

const unloadSchema = z.looseObject({ lora_name: z.string().min(1) })

/** `POST /v1/unload_lora_adapter`: the name is served no more; requests that run finish. */
export function unloadAdapter({ models }: SimContext, exchange: Exchange): void {
  const { lora_name: name } = parseJsonBody(exchange.body, unloadSchema)
  models.unload(name)
  exchange.send(200, PLAIN, `Success: LoRA adapter '${name}' removed successfully.`)
}
