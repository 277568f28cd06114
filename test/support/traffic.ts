import { type ClientRequest, type ClientResponse, sendHttp1 } from './http-client.ts'

export interface Traffic {
  /** Answers so far. */
  readonly answers: readonly ClientResponse[]
  /** What was no 200, or no answer at all. */
  readonly failures: readonly string[]
  /** Ends it, the requests under way included. */
  stop(): Promise<void>
}

/** Sends requests without a pause, `parallel` at a time, each on a connection of its own. `next` makes the i-th. */
export function startTraffic(parallel: number, next: (i: number) => ClientRequest): Traffic {
  const answers: ClientResponse[] = []
  const failures: string[] = []
  const stop = new AbortController()
  let count = 0
  const loop = async () => {
    while (!stop.signal.aborted) {
      const request = next(count++)
      try {
        const answer = await sendHttp1(request)
        answers.push(answer)
        if (answer.status !== 200) failures.push(`${request.path}: ${answer.status} ${answer.body.toString()}`)
      } catch (error) {
        failures.push(`${request.path}: ${String(error)}`)
      }
    }
  }
  const loops = Array.from({ length: parallel }, loop)
  return {
    answers,
    failures,
    stop: async () => {
      stop.abort()
      await Promise.all(loops)
    },
  }
}
