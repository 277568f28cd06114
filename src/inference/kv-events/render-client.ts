/**
 * Asks a vLLM to turn a request into the tokens that its engine would get (`POST /v1/completions/render`, `/v1/chat/completions/render`).
 * One a thread and plan: connections are kept, and no more than some requests are under way, so that a renderer that is slow or away costs
 * a little time and not memory.
 */
import { Buffer } from 'node:buffer'
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { RenderPlan } from './kv-events-plan.ts'
import type { TokenIds } from './token-ids.ts'

/** Of an answer: a million tokens and more. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

/** What cannot be rendered is not asked for. */
export type RenderApi = 'completions' | 'chat/completions'

export class RenderClient {
  readonly #plan: RenderPlan
  readonly #agent: HttpAgent | HttpsAgent
  readonly #secure: boolean
  #underWay = 0

  constructor(plan: RenderPlan) {
    this.#plan = plan
    this.#secure = plan.url.startsWith('https:')
    const options = { keepAlive: true, maxSockets: plan.maxConcurrent, maxFreeSockets: 16, timeout: 60_000 }
    this.#agent = this.#secure ? new HttpsAgent(options) : new HttpAgent(options)
  }

  /** Whether another request may be under way. */
  get isFree(): boolean {
    return this.#underWay < this.#plan.maxConcurrent
  }

  /**
   * Renders `body`, which must not change until `done`: that is called once, with true when `out` has the tokens. The result cancels; then
   * `done` is not called.
   */
  render(api: RenderApi, body: Uint8Array, out: TokenIds, done: (rendered: boolean) => void): () => void {
    const { url, timeoutMs } = this.#plan
    let over = false
    const finish = (rendered: boolean, tell: boolean) => {
      if (over) return
      over = true
      this.#underWay--
      clearTimeout(timer)
      request.destroy()
      if (tell) done(rendered)
    }
    this.#underWay++
    const options = {
      method: 'POST',
      agent: this.#agent,
      headers: { 'content-type': 'application/json', 'content-length': body.length },
    }
    const open = this.#secure ? httpsRequest : httpRequest
    const request = open(`${url}/v1/${api}/render`, options, response => {
      collect(response, answer => {
        if (over) return
        const rendered = response.statusCode === 200 && answer !== undefined && takeTokens(answer, out)
        // An answer that was read to its end leaves the connection to the next request.
        over = true
        this.#underWay--
        clearTimeout(timer)
        if (answer === undefined) request.destroy()
        done(rendered)
      })
    })
    const timer = setTimeout(() => finish(false, true), timeoutMs)
    request.on('error', () => finish(false, true))
    request.end(body)
    return () => finish(false, false)
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** Undefined: too long, or cut off. */
function collect(response: IncomingMessage, done: (answer: Buffer | undefined) => void): void {
  const parts: Buffer[] = []
  let bytes = 0
  response.on('data', (part: Buffer) => {
    bytes += part.length
    if (bytes > MAX_ANSWER_BYTES) return done(undefined)
    parts.push(part)
  })
  response.on('end', () => done(Buffer.concat(parts)))
  response.on('error', () => done(undefined))
}

/** One prompt's tokens, or those of a list of prompts. */
function takeTokens(answer: Buffer, out: TokenIds): boolean {
  let value: unknown
  try {
    value = JSON.parse(answer.toString())
  } catch {
    return false
  }
  out.clear()
  for (const prompt of Array.isArray(value) ? (value as unknown[]) : [value]) {
    const ids: unknown = typeof prompt === 'object' && prompt !== null ? Reflect.get(prompt, 'token_ids') : undefined
    if (!Array.isArray(ids) || !ids.every(isToken)) {
      out.clear()
      return false
    }
    for (const id of ids) out.push(id)
    out.endPrompt()
  }
  return out.count > 0
}

function isToken(id: unknown): id is number {
  return typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= 0xffffffff
}
