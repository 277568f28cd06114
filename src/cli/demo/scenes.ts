import { APIError, type OpenAI } from 'openai'

/** One request of the demo and what became of it, as its client saw it. */
export interface Take {
  readonly title: string
  readonly model: string
  readonly status: number
  /** Envoy's id of the request: finds its line in the access log. */
  readonly requestId: string
  /** What the client got, in a few words. */
  readonly result: string
  readonly milliseconds: number
}

export const LLAMA = 'llama-3.1-8b'
export const QWEN = 'qwen-2.5-7b'
export const LORA = 'sql-lora'
export const UNKNOWN = 'gpt-9'

const LONG_PROMPT = 'You are the assistant of a railway. '.repeat(300)

/** Plays all scenes, in order, with the official client. */
export async function playScenes(client: OpenAI): Promise<Take[]> {
  const takes: Take[] = []
  takes.push(await chat(client, 'chat', LLAMA, 'Which signal lets a train pass?'))
  takes.push(await chat(client, 'chat', QWEN, 'Which signal lets a train pass?'))
  takes.push(await stream(client, 'chat, streamed', LLAMA, 'Tell me about signal boxes.'))
  takes.push(await chat(client, 'LoRA adapter', LORA, 'SELECT all trains'))
  for (let turn = 1; turn <= 3; turn++)
    takes.push(await chat(client, `same long prompt, ${turn} of 3`, LLAMA, `${LONG_PROMPT} Question ${turn}.`))
  takes.push(
    ...(await Promise.all(
      [1, 2, 3, 4].map(turn => stream(client, `burst, ${turn} of 4`, LLAMA, `Story number ${turn}`)),
    )),
  )
  takes.push(await chat(client, 'unknown model', UNKNOWN, 'Hello?'))
  return takes
}

async function chat(client: OpenAI, title: string, model: string, content: string): Promise<Take> {
  return await timed(title, model, async () => {
    const { data, response } = await client.chat.completions
      .create({ model, max_tokens: 16, messages: [{ role: 'user', content }] })
      .withResponse()
    return { response, result: `${data.usage?.completion_tokens ?? 0} tokens` }
  })
}

async function stream(client: OpenAI, title: string, model: string, content: string): Promise<Take> {
  return await timed(title, model, async () => {
    const { data, response } = await client.chat.completions
      .create({ model, stream: true, max_tokens: 24, messages: [{ role: 'user', content }] })
      .withResponse()
    let chunks = 0
    for await (const chunk of data) if (chunk.choices[0]?.delta.content) chunks++
    return { response, result: `${chunks} chunks` }
  })
}

async function timed(
  title: string,
  model: string,
  run: () => Promise<{ response: Response; result: string }>,
): Promise<Take> {
  const start = performance.now()
  const take = (status: number, headers: Headers | undefined, result: string): Take => ({
    title,
    model,
    status,
    requestId: headers?.get('x-request-id') ?? '',
    result,
    milliseconds: Math.round(performance.now() - start),
  })
  try {
    const { response, result } = await run()
    return take(response.status, response.headers, result)
  } catch (error) {
    if (!(error instanceof APIError)) throw error
    return take(error.status ?? 0, error.headers, error.code ?? error.message)
  }
}
