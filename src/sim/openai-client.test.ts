import { afterEach, describe, expect, it } from '@jest/globals'
import { BadRequestError, NotFoundError, OpenAI } from 'openai'
import type { SimulatorOptions } from './options.ts'
import { type Simulator, startSimulator } from './simulator.ts'

const running: Simulator[] = []

async function start(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = await startSimulator({ port: 0, speed: 100, ...options })
  running.push(simulator)
  return simulator
}

afterEach(async () => {
  await Promise.all(running.splice(0).map(simulator => simulator.close()))
})

const post = (simulator: Simulator, path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(simulator.url + path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  })

interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: number
  }
}

async function errorOf(response: Response): Promise<ErrorBody['error'] & { status: number }> {
  const { error } = (await response.json()) as ErrorBody
  expect(error.code).toBe(response.status)
  return { status: response.status, ...error }
}

const hello = { model: 'llama', messages: [{ role: 'user', content: 'Hello there' }] }

describe('with the official client', () => {
  const client = ({ url }: Simulator) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })

  it('chats, whole and streamed, with the same text', async () => {
    const simulator = await start()
    const { chat } = client(simulator)
    const messages = [{ role: 'user' as const, content: 'Tell me about signal boxes.' }]
    const whole = await chat.completions.create({ model: 'llama', messages, max_completion_tokens: 30 })
    const stream = await chat.completions.create({
      model: 'llama',
      messages,
      max_tokens: 30,
      stream: true,
      stream_options: { include_usage: true },
    })
    let text = ''
    let usage: OpenAI.CompletionUsage | null | undefined
    let finish: string | null | undefined
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      finish ??= chunk.choices[0]?.finish_reason
      usage = chunk.usage
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    expect(text.length).toBeGreaterThan(60)
    expect(finish).toBe(whole.choices[0]?.finish_reason)
    expect(usage?.completion_tokens).toBe(whole.usage?.completion_tokens)
    expect(usage?.total_tokens).toBe(usage!.prompt_tokens + usage!.completion_tokens)
  })

  it('finds a conversation in its cache, the answer included', async () => {
    const simulator = await start({ blockSize: 4 })
    const { chat } = client(simulator)
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Tell me about signal boxes.' }]
    const first = await chat.completions.create({ model: 'llama', messages, max_tokens: 40 })
    messages.push(first.choices[0]!.message, { role: 'user', content: 'And about points?' })
    const second = await chat.completions.create({ model: 'llama', messages, max_tokens: 5 })
    const cached = second.usage?.prompt_tokens_details?.cached_tokens ?? 0
    const before = first.usage!.total_tokens
    expect(cached).toBeGreaterThan(before - 6)
    expect(cached).toBeLessThan(before)
    expect(simulator.requests().at(-1)).toMatchObject({ cachedTokens: cached, status: 200, outcome: 'answered' })
  })

  it('completes text', async () => {
    const simulator = await start()
    const { completions } = client(simulator)
    const plain = await completions.create({ model: 'llama', prompt: 'Once upon a time', max_tokens: 8 })
    const echoed = await completions.create({ model: 'llama', prompt: 'Once upon a time', max_tokens: 8, echo: true })
    expect(echoed.choices[0]?.text).toBe(`Once upon a time${plain.choices[0]?.text}`)
    expect(plain.choices[0]?.finish_reason).toBe('length')
    const only = await completions.create({ model: 'llama', prompt: 'Once', max_tokens: 0, echo: true })
    expect(only.choices[0]?.text).toBe('Once')
    const ids = await completions.create({ model: 'llama', prompt: [1, 2, 3], max_tokens: 2 })
    expect(ids.usage?.prompt_tokens).toBe(3)
  })

  it('embeds, in either encoding', async () => {
    const simulator = await start()
    const { embeddings } = client(simulator)
    const input = ['one', 'two', 'one']
    // The client asks for base64 by itself and decodes it.
    const packed = await embeddings.create({ model: 'llama', input })
    const plain = await embeddings.create({ model: 'llama', input, encoding_format: 'float' })
    expect(plain.data.map(({ embedding }) => embedding)).toEqual(packed.data.map(({ embedding }) => [...embedding]))
    expect(plain.data[0]?.embedding).toEqual(plain.data[2]?.embedding)
    expect(plain.data[0]?.embedding).not.toEqual(plain.data[1]?.embedding)
    expect(Math.hypot(...plain.data[0]!.embedding)).toBeCloseTo(1)
    const short = await embeddings.create({ model: 'llama', input: 'one', dimensions: 3, encoding_format: 'float' })
    expect(short.data[0]?.embedding).toHaveLength(3)
  })

  it('lists models, and adapters with their parent, as they come and go', async () => {
    const simulator = await start({ models: ['llama', 'llama-8b'], loras: ['sql'] })
    const list = async () => {
      const result: string[] = []
      for await (const model of client(simulator).models.list())
        result.push(`${model.id}<${Reflect.get(model, 'parent')}`)
      return result
    }
    expect(await list()).toEqual(['llama<null', 'llama-8b<null', 'sql<llama'])
    const load = { lora_name: 'tone', lora_path: '/adapters/tone' }
    expect(await (await post(simulator, '/v1/load_lora_adapter', load)).text()).toMatch(/^Success/)
    expect(await errorOf(await post(simulator, '/v1/load_lora_adapter', load))).toMatchObject({ status: 400 })
    const answer = await client(simulator)
      .chat.completions.create({ ...hello, messages: [], model: 'tone' } as never)
      .catch((error: unknown) => error)
    expect(answer).toBeInstanceOf(BadRequestError)
    expect((await post(simulator, '/v1/unload_lora_adapter', { lora_name: 'sql' })).status).toBe(200)
    expect(await list()).toEqual(['llama<null', 'llama-8b<null', 'tone<llama'])
    expect(await errorOf(await post(simulator, '/v1/unload_lora_adapter', { lora_name: 'sql' }))).toMatchObject({
      status: 404,
      type: 'NotFoundError',
    })
  })

  it('gives its errors their classes', async () => {
    const simulator = await start()
    const { chat } = client(simulator)
    await expect(chat.completions.create({ model: 'gpt', messages: [{ role: 'user', content: 'x' }] })).rejects.toThrow(
      NotFoundError,
    )
  })
})

describe('server-sent events', () => {
  it('are framed exactly so', async () => {
    const simulator = await start()
    const body = { ...hello, stream: true, max_tokens: 2, stream_options: { include_usage: true } }
    const response = await post(simulator, '/v1/chat/completions', body, { 'x-request-id': 'r1' })
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    const text = await response.text()
    const created = /"created":(\d+)/.exec(text)?.[1]
    const head = `{"id":"chatcmpl-r1","object":"chat.completion.chunk","created":${created},"model":"llama","choices":`
    const [first, second] = [...text.matchAll(/"delta":\{"content":"([^"]*)"/g)].map(([, piece]) => piece)
    expect(text).toBe(
      [
        `data: ${head}[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}`,
        `data: ${head}[{"index":0,"delta":{"content":"${first}"},"logprobs":null,"finish_reason":null}]}`,
        `data: ${head}[{"index":0,"delta":{"content":"${second}"},"logprobs":null,"finish_reason":"length","stop_reason":null}]}`,
        `data: ${head}[],"usage":{"prompt_tokens":5,"total_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":0}}}`,
        'data: [DONE]',
        '',
      ].join('\n\n'),
    )
  })

  it('carry usage on every chunk when asked to', async () => {
    const simulator = await start()
    const options = { include_usage: true, continuous_usage_stats: true }
    const body = { prompt: 'Once upon', stream: true, max_tokens: 3, stream_options: options }
    const text = await (await post(simulator, '/v1/completions', body)).text()
    expect([...text.matchAll(/"completion_tokens":(\d)/g)].map(([, count]) => count)).toEqual(['1', '2', '3', '3'])
  })

  it('stop before a stop string', async () => {
    const simulator = await start()
    const whole = { ...hello, max_tokens: 60, ignore_eos: true }
    const answer = (await (await post(simulator, '/v1/chat/completions', whole)).json()) as OpenAI.ChatCompletion
    const text = answer.choices[0]!.message.content!
    const stop = text.slice(40, 47)
    const streamed = await (await post(simulator, '/v1/chat/completions', { ...whole, stop, stream: true })).text()
    const sent = [...streamed.matchAll(/"content":"([^"]*)"/g)].map(([, piece]) => piece).join('')
    expect(sent).toBe(text.slice(0, text.indexOf(stop)))
    expect(streamed).toContain(`"finish_reason":"stop","stop_reason":${JSON.stringify(stop)}`)
    const plain = (await (
      await post(simulator, '/v1/chat/completions', { ...whole, stop })
    ).json()) as OpenAI.ChatCompletion
    expect(plain.choices[0]).toMatchObject({ finish_reason: 'stop', stop_reason: stop, message: { content: sent } })
  })
})

describe('determinism', () => {
  it('is a matter of seed, model and prompt', async () => {
    const say = async (options: SimulatorOptions, body: object) => {
      const simulator = await start(options)
      const answer = await post(simulator, '/v1/chat/completions', { ...hello, max_tokens: 20, ...body })
      return ((await answer.json()) as OpenAI.ChatCompletion).choices[0]?.message.content
    }
    const first = await say({ seed: 1 }, {})
    expect(await say({ seed: 1 }, {})).toBe(first)
    expect(await say({ seed: 2 }, {})).not.toBe(first)
    expect(await say({ seed: 1 }, { seed: 5 })).not.toBe(first)
    expect(await say({ seed: 1, loras: ['sql'] }, { model: 'sql' })).not.toBe(first)
  })
})
