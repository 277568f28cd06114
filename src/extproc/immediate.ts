import type { Refusal } from './decider.ts'
import { writeImmediate, writeStreamedImmediateBody, writeStreamedImmediateHeaders } from './encode-immediate.ts'
import { type Exchange, RequestState } from './exchange.ts'
import { BodyMode } from './modes.ts'
import { finish, flush } from './output.ts'

/** An immediate body above this is streamed where the protocol lets it: Envoy before 1.37 doesn't know that and answers 5xx. */
const MAX_IMMEDIATE_BYTES = 1024 * 1024

/** The exchange's own refusal, worded by the decider. */
export function refuse(x: Exchange, refusal: Refusal): void {
  x.decision.clear()
  x.decider.refuse(x, refusal)
  immediate(x)
}

/** An answer of our own, in `decision`. It is final: the stream ends with it. */
export function immediate(x: Exchange): void {
  const { decision, context } = x
  const { out } = context
  const body = decision.immediateBody
  x.dropHeld()
  const mayStream =
    !x.headersAnswered && (x.requestMode === BodyMode.NONE || x.requestMode === BodyMode.FULL_DUPLEX_STREAMED)
  if (body !== undefined && body.length > MAX_IMMEDIATE_BYTES && mayStream) {
    writeStreamedImmediateHeaders(out, decision)
    for (let at = 0; at < body.length; at += context.maxChunkBytes) {
      const end = Math.min(body.length, at + context.maxChunkBytes)
      writeStreamedImmediateBody(out, body, at, end, end === body.length)
    }
  } else {
    writeImmediate(out, decision)
  }
  x.requestState = RequestState.ENDED
  flush(x)
  finish(x)
}
