/** Plays a workload against a gateway: open loop, each request at its time, whatever became of those before. */
import { Agent, request as httpRequest } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import type { Arrival, Workload } from '../placement/workloads.ts'
import { type Api, API_PATHS, requestBody } from './requests.ts'
import { StreamedAnswer } from './streamed-answer.ts'

/** How often the client looks how late it is. */
const LATENESS_MS = 5

/** A request, as its client saw it; times in ms since it was sent. */
export interface Answer {
  readonly arrival: Arrival
  /** Undefined: no text ever came. */
  readonly ttft: number | undefined
  /** Mean time per further token. */
  readonly tpot: number | undefined
  /** The whole answer came. */
  readonly whole: boolean
  /** Why not, for people. */
  readonly failure: string | undefined
}

export interface LoadOptions {
  readonly port: number
  readonly api: Api
  /** Called when the workload's replica is to die. */
  readonly dies: () => void
}

export interface Played {
  readonly answers: readonly Answer[]
  /** 99th percentile of how late the client itself came to do things, ms: what a machine that is short of CPU adds to all times. */
  readonly lateMs: number
}

/** Resolves when every request is over; those that are not by the end of the workload's drain are cut off. */
export async function play({ arrivals, drainMs, diesAt }: Workload, options: LoadOptions): Promise<Played> {
  const bodies = arrivals.map(arrival => requestBody(arrival, options.api))
  const lateness = monitorEventLoopDelay({ resolution: LATENESS_MS })
  lateness.enable()
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
  const cut = new AbortController()
  const start = performance.now() + 100
  const answers: Promise<Answer>[] = []
  const death =
    diesAt === undefined
      ? undefined
      : setTimeout(() => {
          options.dies()
        }, 100 + diesAt)
  for (const [i, arrival] of arrivals.entries()) {
    const wait = start + arrival.at - performance.now()
    if (wait > 1) await delay(wait)
    answers.push(ask(arrival, bodies[i]!, agent, cut.signal, options))
  }
  const end = setTimeout(() => cut.abort(), drainMs)
  const all = await Promise.all(answers)
  clearTimeout(end)
  clearTimeout(death)
  agent.destroy()
  lateness.disable()
  return { answers: all, lateMs: Math.max(0, lateness.percentile(99) / 1e6 - LATENESS_MS) }
}

function ask(
  arrival: Arrival,
  body: Buffer,
  agent: Agent,
  signal: AbortSignal,
  { port, api }: LoadOptions,
): Promise<Answer> {
  return new Promise(resolve => {
    const answer = new StreamedAnswer()
    const sentAt = performance.now()
    const over = (failure: string | undefined) => {
      const { firstTokenAt, lastTokenAt, completionTokens, done } = answer
      const whole = failure === undefined && done && completionTokens === arrival.outputTokens
      resolve({
        arrival,
        ttft: firstTokenAt === undefined ? undefined : firstTokenAt - sentAt,
        tpot: whole && completionTokens > 1 ? (lastTokenAt! - firstTokenAt!) / (completionTokens - 1) : undefined,
        whole,
        failure: failure ?? (whole ? undefined : `ended after ${completionTokens} of ${arrival.outputTokens} tokens`),
      })
    }
    const outgoing = httpRequest({
      port,
      host: '127.0.0.1',
      agent,
      method: 'POST',
      path: API_PATHS[api],
      headers: { 'content-type': 'application/json', 'content-length': body.length },
      signal,
    })
    outgoing.on('error', error => over(error.message))
    outgoing.on('response', incoming => {
      const { statusCode } = incoming
      let refusal = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (part: string) => {
        if (statusCode === 200) answer.feed(part, performance.now())
        else refusal = (refusal + part).slice(0, 200)
      })
      incoming.on('error', error => over(error.message))
      incoming.on('end', () => over(statusCode === 200 ? undefined : `${statusCode} ${refusal.trim()}`))
    })
    outgoing.end(body)
  })
}
