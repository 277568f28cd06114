import { createHash } from 'node:crypto'
import { z } from 'zod'
import { badRequest } from './api-error.ts'
import type { SimContext } from './context.ts'
import type { Exchange } from './exchange.ts'
import { changed, faultChangeSchema } from './faults.ts'
import { parseJsonBody } from './json-body.ts'
import { Random } from './random.ts'

/** `GET /sim/requests?limit=n`: the last requests, oldest first; `DELETE` forgets them. */
export function requests({ log, options }: SimContext, exchange: Exchange): void {
  if (exchange.request.method === 'DELETE') log.clear()
  const limit = Number(exchange.url.searchParams.get('limit') ?? options.recordedRequests)
  if (!Number.isInteger(limit) || limit < 1) throw badRequest('limit must be a whole number of at least 1', 'limit')
  exchange.json(200, { requests: log.last(limit) })
}

/** `GET /sim/fault` shows the switches, `POST` changes those it names, `DELETE` turns all off. All answer with the outcome. */
export function fault({ faults }: SimContext, exchange: Exchange): void {
  const { method } = exchange.request
  const change = method === 'POST' ? parseJsonBody(exchange.body, faultChangeSchema) : undefined
  if (method === 'DELETE') faults.clear()
  if (change === undefined) {
    exchange.json(200, faults.current)
    return
  }
  // The answer leaves first: the change may cut this very connection.
  exchange.onClose(() => faults.apply(change))
  exchange.json(200, changed(faults.current, change))
}

/** `/sim/echo`, any method: the body comes back as it came. */
export function echo(_context: SimContext, exchange: Exchange): void {
  const type = exchange.request.headers['content-type'] ?? 'application/octet-stream'
  exchange.send(200, type, exchange.body)
}

const respondQuery = z.strictObject({
  status: z.coerce.number().int().min(200).max(599).default(200),
  /** Length of the body. */
  bytes: z.coerce
    .number()
    .int()
    .min(0)
    .max(256 * 1024 * 1024)
    .default(0),
  /** 0: with content-length; otherwise chunked, in pieces of this many bytes. */
  chunk: z.coerce.number().int().min(0).default(0),
  /** Milliseconds on the wall between two pieces. */
  interval: z.coerce.number().min(0).max(60_000).default(0),
  type: z
    .string()
    .regex(/^[\x20-\x7e]+$/)
    .default('application/octet-stream'),
  /** With trailer `x-sim-trailer: <digest>`; needs `chunk`. */
  trailers: z.stringbool().default(false),
  seed: z.coerce.number().int().default(0),
})

/**
 * `/sim/respond?…`, any method: an answer of any size and shape, whose bytes depend on `seed` only; header
 * `x-sim-response-sha256` has their digest.
 */
export async function respond(_context: SimContext, exchange: Exchange): Promise<void> {
  const query = respondQuery.safeParse(Object.fromEntries(exchange.url.searchParams))
  if (!query.success)
    throw badRequest(query.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '))
  const { status, bytes, chunk, interval, type, trailers, seed } = query.data
  if (trailers && chunk === 0) throw badRequest('trailers need chunk', 'trailers')
  const body = randomBytes(bytes, seed)
  const digest = createHash('sha256').update(body).digest('hex')
  const headers = { 'x-sim-response-sha256': digest }
  if (chunk === 0) {
    // These have no body, so their length must not be told either.
    if (status === 204 || status === 304) {
      exchange.start(status, headers)
      exchange.end()
    } else exchange.send(status, type, body, headers)
    return
  }
  exchange.start(status, { 'content-type': type, ...headers, ...(trailers ? { trailer: 'x-sim-trailer' } : {}) })
  for (let at = 0; at < bytes && !exchange.isClosed; at += chunk) {
    await exchange.writePaced(body.subarray(at, at + chunk), interval)
  }
  exchange.end(undefined, trailers ? { 'x-sim-trailer': digest } : undefined)
}

function randomBytes(length: number, seed: number): Buffer {
  const random = new Random(seed)
  const bytes = Buffer.alloc(length)
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE(random.next() * 2 ** 32, i)
  for (let i = length - (length % 4); i < length; i++) bytes[i] = random.between(0, 255)
  return bytes
}
