import { Buffer } from 'node:buffer'
import { Verdict } from '../extproc/decider.ts'
import type { Exchange } from '../extproc/exchange.ts'
import { hashText } from '../inference/kv-events/hash-text.ts'
import type { RenderPlan } from '../inference/kv-events/kv-events-plan.ts'
import { type RenderApi, RenderClient } from '../inference/kv-events/render-client.ts'
import type { Call } from './call.ts'
import { goOn } from './deferral.ts'

/** By what they are to do: a new plan that says the same goes on with the connections, and their limit holds for all. */
const CLIENTS = new Map<string, RenderClient>()

/** Whether a request to this path can be rendered. */
export function renderApiOf({ path, pathEnd }: Call): RenderApi | undefined {
  const end = path.slice(0, pathEnd)
  if (end.endsWith('/v1/chat/completions')) return 'chat/completions'
  return end.endsWith('/v1/completions') ? 'completions' : undefined
}

/**
 * Finds the tokens of a request before `next` picks for it: those that it brings, or those that a vLLM makes of it, as long as that takes no
 * longer than the plan allows. Without them the pick goes by what was sent where.
 */
export function withTokens(x: Exchange, call: Call, plan: RenderPlan | undefined, next: () => Verdict): Verdict {
  const { pick, facts } = call
  pick.tokens = facts.prompt.tokenIds
  if (pick.tokens !== undefined) pick.tokens.salt = saltOf(call)
  const api = plan === undefined ? undefined : renderApiOf(call)
  if (pick.tokens !== undefined || plan === undefined || api === undefined) return next()
  const client = clientOf(plan)
  const body = client.isFree ? bodyOf(call, plan) : undefined
  if (body === undefined) return next()
  const { serial } = x
  call.cancelDeferral = client.render(api, body, call.tokens, rendered => {
    if (rendered && serial === x.serial) {
      pick.tokens = call.tokens
      pick.tokens.salt = saltOf(call)
    }
    goOn(x, serial, call, next)
  })
  return Verdict.DEFERRED
}

function saltOf({ facts }: Call): number {
  return facts.salt === '' ? 0 : hashText(facts.salt)
}

/** The request with the model's name as the renderer knows it. */
function bodyOf({ body, facts, rewritten }: Call, { model }: RenderPlan): Buffer | undefined {
  const whole = body.whole()
  const name = model ?? rewritten
  if (whole === undefined || name === undefined || facts.model.start < 0) return whole
  return Buffer.concat([
    whole.subarray(0, facts.model.start),
    Buffer.from(JSON.stringify(name)),
    whole.subarray(facts.model.end),
  ])
}

function clientOf(plan: RenderPlan): RenderClient {
  const key = JSON.stringify(plan)
  let client = CLIENTS.get(key)
  if (client === undefined) CLIENTS.set(key, (client = new RenderClient(plan)))
  return client
}
