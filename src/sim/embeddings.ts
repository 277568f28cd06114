import { z } from 'zod'
import type { SimContext } from './context.ts'
import type { Exchange } from './exchange.ts'
import { checkPromptLength, prefill } from './generate.ts'
import { tokenIds } from './generation-request.ts'
import { parseJsonBody } from './json-body.ts'
import { mix32, Random } from './random.ts'
import { TokenBuffer } from './tokenizer.ts'

const schema = z.looseObject({
  model: z.string().nullish(),
  input: z.union([z.string().min(1), z.array(z.string().min(1)).min(1), tokenIds, z.array(tokenIds).min(1)]),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.int().min(1).max(65_536).nullish(),
})

/** `POST /v1/embeddings`: one unit vector for each input, the same for the same tokens and seed. */
export async function embeddings(context: SimContext, exchange: Exchange): Promise<void> {
  const { models, options, unixSeconds } = context
  const { record } = exchange
  const body = parseJsonBody(exchange.body, schema)
  const model = models.resolve(body.model ?? undefined)
  record.model = model.name
  const prompts = inputs(body.input)
  for (const prompt of prompts) checkPromptLength(prompt.length, options.maxModelLen, 0)
  record.promptTokens = prompts.reduce((sum, { length }) => sum + length, 0)
  await Promise.all(prompts.map(prompt => prefill(context, exchange, prompt, model.lora)))
  const dimensions = body.dimensions ?? options.embeddingDimensions
  const data = prompts.map((prompt, index) => {
    const vector = embed(prompt, dimensions, options.seed)
    const embedding = body.encoding_format === 'base64' ? base64(vector) : [...vector]
    return { index, object: 'embedding', embedding }
  })
  exchange.json(200, {
    id: `embd-${record.index}`,
    object: 'list',
    created: unixSeconds(),
    model: model.name,
    data,
    usage: {
      prompt_tokens: record.promptTokens,
      total_tokens: record.promptTokens,
      completion_tokens: 0,
      prompt_tokens_details: null,
    },
  })
}

function inputs(input: z.infer<typeof schema>['input']): Uint32Array[] {
  const list: readonly (string | number | number[])[] = typeof input === 'string' ? [input] : input
  if (typeof list[0] === 'number') return [Uint32Array.from(list as number[])]
  return list.map(one =>
    typeof one === 'string' ? new TokenBuffer().text(one).view() : Uint32Array.from(one as number[]),
  )
}

function embed(tokens: Uint32Array, dimensions: number, seed: number): Float32Array {
  let hash = mix32(seed, dimensions)
  for (const token of tokens) hash = mix32(hash, token)
  const random = new Random(hash)
  const vector = Float32Array.from({ length: dimensions }, () => random.next() * 2 - 1)
  const norm = Math.hypot(...vector)
  return vector.map(value => value / norm)
}

/** 32-bit floats, little-endian, as OpenAI's API encodes them. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [i, value] of vector.entries()) bytes.writeFloatLE(value, i * 4)
  return bytes.toString('base64')
}
