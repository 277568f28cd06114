import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError } from './api-error.ts'
import type { SimContext } from './context.ts'
import type { Exchange } from './exchange.ts'

/** The replica that is to compute the prompt: set by the endpoint picker (llm-d's P/D contract). */
const PREFILLER = 'x-prefiller-host-port'
const LIMITS = ['max_tokens', 'max_completion_tokens', 'min_tokens']

/**
 * What llm-d's sidecar does beside a decode replica: when the request names a prefill replica, that one gets it first, to generate a single
 * token, and its keys and values come over the network. Resolves with whether they did; false too when the prefill replica refused:
 * then its answer is the client's.
 */
export async function prefilledElsewhere(
  { options }: SimContext,
  exchange: Exchange,
  promptTokens: number,
): Promise<'here' | 'elsewhere' | 'refused'> {
  const target = exchange.request.headers[PREFILLER]
  if (typeof target !== 'string') return 'here'
  const body = JSON.parse(exchange.body.toString()) as Record<string, unknown>
  for (const limit of LIMITS) delete body[limit]
  delete body['stream_options']
  const params = { do_remote_decode: true, do_remote_prefill: false }
  const leg = { ...body, stream: false, max_tokens: 1, kv_transfer_params: params }
  const gone = new AbortController()
  exchange.onClose(() => gone.abort())
  const { status, type, text } = await ask(`http://${target}${exchange.url.pathname}`, leg, exchange, gone.signal)
  if (status !== 200) {
    exchange.send(status, type, text)
    return 'refused'
  }
  await sleep((promptTokens * options.kvTransferMsPerToken) / options.speed, undefined, { ref: false })
  return 'elsewhere'
}

async function ask(url: string, body: object, exchange: Exchange, signal: AbortSignal) {
  try {
    const id = exchange.request.headers['x-request-id']
    const headers = { 'content-type': 'application/json', ...(typeof id === 'string' ? { 'x-request-id': id } : {}) }
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal })
    const type = response.headers.get('content-type') ?? undefined
    return { status: response.status, type, text: await response.text() }
  } catch (error) {
    throw new ApiError(502, 'BadGatewayError', `The prefill replica did not answer: ${String(error)}`)
  }
}
