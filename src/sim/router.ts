import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, notFound } from './api-error.ts'
import type { SimContext } from './context.ts'
import { embeddings } from './embeddings.ts'
import { enginePage } from './engine-pages.ts'
import type { Exchange } from './exchange.ts'
import { generate } from './generate.ts'
import { chatFormat, completionFormat, type ReplyFormat } from './generation-reply.ts'
import {
  type GenerationRequest,
  chatRequest,
  chatSchema,
  completionRequest,
  completionSchema,
} from './generation-request.ts'
import { parseJsonBody } from './json-body.ts'
import { loadAdapter, renderChat, renderCompletion, tokenize, unloadAdapter } from './model-endpoints.ts'
import { prefilledElsewhere } from './remote-prefill.ts'
import { echo, fault, requests, respond } from './test-endpoints.ts'

type Handler = (context: SimContext, exchange: Exchange) => void | Promise<void>

interface Route {
  /** Absent: any. */
  readonly methods?: readonly string[]
  readonly handler: Handler
  /** `inference` is what fault `errorShare` hits, `sim` is what no fault touches. */
  readonly kind: 'inference' | 'other' | 'sim'
  /** Polled so often that it would fill the request log. */
  readonly unrecorded?: boolean
}

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

const routes: Readonly<Record<string, Route>> = {
  '/v1/chat/completions': {
    methods: ['POST'],
    kind: 'inference',
    handler: (context, exchange) =>
      decode(context, exchange, chatFormat, chatRequest(parseJsonBody(exchange.body, chatSchema))),
  },
  '/v1/completions': {
    methods: ['POST'],
    kind: 'inference',
    handler: (context, exchange) =>
      decode(context, exchange, completionFormat, completionRequest(parseJsonBody(exchange.body, completionSchema))),
  },
  '/v1/embeddings': { methods: ['POST'], kind: 'inference', handler: embeddings },
  '/v1/models': {
    methods: ['GET'],
    kind: 'other',
    unrecorded: true,
    handler: ({ models }, exchange) => exchange.json(200, models.list()),
  },
  '/v1/completions/render': { methods: ['POST'], kind: 'other', handler: renderCompletion },
  '/v1/chat/completions/render': { methods: ['POST'], kind: 'other', handler: renderChat },
  '/tokenize': { methods: ['POST'], kind: 'other', handler: tokenize },
  '/v1/load_lora_adapter': { methods: ['POST'], kind: 'other', handler: loadAdapter },
  '/v1/unload_lora_adapter': { methods: ['POST'], kind: 'other', handler: unloadAdapter },
  '/health': { methods: ['GET'], kind: 'other', unrecorded: true, handler: health },
  '/version': {
    methods: ['GET'],
    kind: 'other',
    unrecorded: true,
    handler: (_, exchange) => exchange.json(200, { version: '0.11.0+signalbox.sim' }),
  },
  '/metrics': { methods: ['GET'], kind: 'other', unrecorded: true, handler: metricsPage },
  '/sim/requests': { methods: ['GET', 'DELETE'], kind: 'sim', unrecorded: true, handler: requests },
  '/sim/fault': { methods: ['GET', 'POST', 'DELETE'], kind: 'sim', unrecorded: true, handler: fault },
  '/sim/echo': { kind: 'other', handler: echo },
  '/sim/respond': { kind: 'other', handler: respond },
}

/** Whether requests for this path belong in the log. */
export function isRecorded(path: string): boolean {
  return routes[path]?.unrecorded !== true
}

/** Serves one request. Never rejects: what goes wrong becomes the answer. */
export async function serve(context: SimContext, exchange: Exchange): Promise<void> {
  try {
    const route = Object.hasOwn(routes, exchange.url.pathname) ? routes[exchange.url.pathname] : undefined
    if (!(await exchange.readBody(context.options.maxBodyBytes))) return
    const { hang, errorShare } = context.faults.current
    if (hang === true && route?.kind !== 'sim') return
    if (route === undefined) throw notFound('Not Found')
    if (route.methods !== undefined && !route.methods.includes(exchange.request.method ?? '')) {
      throw new ApiError(405, 'MethodNotAllowed', 'Method Not Allowed')
    }
    if (route.kind === 'inference' && errorShare !== undefined && context.random.next() < errorShare) {
      throw new ApiError(503, 'ServiceUnavailableError', 'The simulator was told to fail (fault errorShare).')
    }
    await route.handler(context, exchange)
  } catch (error) {
    exchange.fail(error)
  }
}

async function decode(
  context: SimContext,
  exchange: Exchange,
  format: ReplyFormat,
  request: GenerationRequest,
): Promise<void> {
  const prefilled = await prefilledElsewhere(context, exchange, request.prompt.length)
  if (prefilled !== 'refused' && !exchange.isClosed)
    generate(context, exchange, format, request, prefilled === 'elsewhere')
}

async function health({ faults }: SimContext, exchange: Exchange): Promise<void> {
  const { healthDelayMs = 0, unhealthy } = faults.current
  if (healthDelayMs > 0) await sleep(healthDelayMs, undefined, { ref: false })
  exchange.send(unhealthy === true ? 503 : 200, undefined, '')
}

async function metricsPage({ faults, metrics, engine, options }: SimContext, exchange: Exchange): Promise<void> {
  const { metricsDelayMs = 0, brokenMetrics } = faults.current
  if (metricsDelayMs > 0) await sleep(metricsDelayMs, undefined, { ref: false })
  if (brokenMetrics === 'status') throw new ApiError(500, 'InternalServerError', 'The simulator was told to fail.')
  const page =
    options.engine === 'vllm'
      ? metrics.page(engine)
      : enginePage(options.engine, engine, { ...options, modelName: options.models[0]! })
  if (brokenMetrics === undefined) exchange.send(200, METRICS_TYPE, page)
  else exchange.send(200, METRICS_TYPE, broken(page, brokenMetrics))
}

function broken(page: string, how: 'empty' | 'truncated' | 'garbage'): string {
  if (how === 'empty') return ''
  if (how === 'garbage') return '<html>not {a metrics} page\n\u0000vllm:num_requests_waiting{ twelve\n'
  // In the middle of the value that a picker wants most.
  return page.slice(0, page.indexOf('vllm:num_requests_waiting{') + 30)
}
