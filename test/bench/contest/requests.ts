/** The requests of a workload as a client sends them. */
import type { Arrival } from '../placement/workloads.ts'

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

/** A word of three letters and a space: a token for any tokenizer that goes by words, and as long as one is on average. */
export function wordOf(token: number): string {
  const of = (index: number) => LETTERS[index % LETTERS.length]!
  const { length } = LETTERS
  return `${of(token)}${of(Math.floor(token / length))}${of(Math.floor(token / length ** 2))} `
}

/** As many words as the prompt has tokens. */
function textOf(prompt: Uint32Array): string {
  let text = ''
  for (const token of prompt) text += wordOf(token)
  return text
}

export const API_PATHS = { completions: '/v1/completions', chat: '/v1/chat/completions' } as const
export type Api = keyof typeof API_PATHS

/** A streamed request that ends with its usage. */
export function requestBody({ model, prompt, outputTokens }: Arrival, api: Api): Buffer {
  const text = textOf(prompt)
  return Buffer.from(
    JSON.stringify({
      model,
      ...(api === 'chat' ? { messages: [{ role: 'user', content: text }] } : { prompt: text }),
      max_tokens: outputTokens,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
    }),
  )
}
