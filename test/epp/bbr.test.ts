import { describe, expect, it } from '@jest/globals'
import type { JsonObject } from '@bufbuild/protobuf'
import { compileSet } from '../../src/compile/compile.ts'
import { readTexts } from '../../src/config/object-set.ts'
import { formatProblem } from '../../src/config/problem.ts'
import { BodyMode } from '../../src/extproc/modes.ts'
import { ExtProcService } from '../../src/extproc/service.ts'
import { Outcomes } from '../../src/pipeline/outcomes.ts'
import { PLUG_METADATA } from '../../src/pipeline/plan.ts'
import { LocalPlan } from '../support/local-plan.ts'
import type { Answer } from './picker-answer.ts'
import { type Call, Session } from './picker-session.ts'

const CONFIG = `
apiVersion: v1
kind: ConfigMap
metadata: { name: llama, labels: { inference.networking.k8s.io/bbr-managed: "true" } }
data: { baseModel: llama, adapters: "- sql\\n- 'qwerty'" }
`
const MODEL = 'x-gateway-model-name'
const BASE = 'x-gateway-base-model-name'

/** Signalbox as a gateway's body-based router: the plug `route`. */
function router(): ExtProcService {
  const compiled = compileSet(readTexts([{ file: 'bbr.yaml', text: CONFIG }]), {
    extProc: { addresses: ['127.0.0.1:1'] },
    gatewayPools: { namespace: undefined },
  })
  expect(compiled.errors.map(formatProblem)).toEqual([])
  const plan = new LocalPlan({
    outcomes: new Outcomes(),
    nowMs: () => 0,
    random: () => 0,
    pool: { releaseBy: 'response' },
  })
  plan.update(compiled.plan)
  const decider = plan.linked.entry(undefined, { [PLUG_METADATA]: 'route' })
  return new ExtProcService({ decider: () => decider, retainsParts: false })
}

function send(call: Call): Answer {
  return new Session(router(), { path: '/v1/chat/completions', ...call }, BodyMode.NONE).answer
}

const JSON_TYPE = { 'content-type': 'application/json' }
const long = `{"model":"sql","prompt":"${'x'.repeat(70_000)}"}`

describe('body-based routing (epp.md §8.7)', () => {
  it.each<[string, string | readonly string[], JsonObject]>([
    ['a model', '{"model":"gpt","prompt":"x"}', { [MODEL]: 'gpt', [BASE]: '' }],
    ['a base model', '{"model":"llama"}', { [MODEL]: 'llama', [BASE]: 'llama' }],
    ['an adapter of the ConfigMap', '{"model":"sql"}', { [MODEL]: 'sql', [BASE]: 'llama' }],
    ['a model that is a number', '{"model":1}', { [MODEL]: '1', [BASE]: '' }],
    ['a model that is a truth', '{"model":true}', { [MODEL]: 'true', [BASE]: '' }],
    ['a body in chunks', ['{"mo', 'del":"sq', 'l","prompt":"x"', '}'], { [MODEL]: 'sql', [BASE]: 'llama' }],
    ['70,000 characters', long, { [MODEL]: 'sql', [BASE]: 'llama' }],
    ['70,000 characters in chunks', [long.slice(0, 33_000), long.slice(33_000)], { [MODEL]: 'sql', [BASE]: 'llama' }],
    ['no model', '{"prompt":"x"}', {}],
    ['an empty model', '{"model":""}', {}],
    ['a model that is none', '{"model":null}', {}],
    ['a model further down', '{"a":{"model":"gpt"}}', {}],
    ['an empty body', '', {}],
  ])('%s', (_name, body, expected) => {
    const answer = send({ body, headers: JSON_TYPE })
    expect(answer.refusal).toBeUndefined()
    const { 'content-length': length, ...set } = answer.set
    expect(set).toEqual(expected)
    const whole = typeof body === 'string' ? body : body.join('')
    expect(answer).toMatchObject({ body: whole, ended: true, clearRouteCache: true })
    // What does not change keeps the length that it came with.
    expect(length).toBeUndefined()
    // What a client says in their place does not count.
    if (!(MODEL in expected)) expect(answer.removed).toEqual([MODEL, BASE])
  })

  it.each(['{"model":', 'no healthy upstream', '{"model":"a","model":"b"}', '{"model":"a\\u000ab"}'])(
    '%s is 400',
    body => {
      expect(send({ body, headers: JSON_TYPE }).refusal).toMatchObject({ status: 400 })
      // A gateway has other traffic too.
      for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
        expect(send({ body, headers: { 'content-type': type } })).toMatchObject({ body, refusal: undefined, set: {} })
    },
  )

  it('lets be what has no body, and what is of another type', () => {
    const expected = { set: {}, removed: [MODEL, BASE], refusal: undefined }
    expect(send({ method: 'GET', path: '/v1/models' })).toMatchObject(expected)
    expect(send({ body: 'x', headers: { 'content-type': 'image/png' } })).toMatchObject({ ...expected, body: 'x' })
  })

  it('reads forms too', () => {
    const body = '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nsql\r\n--b--\r\n'
    const { set } = send({ body, headers: { 'content-type': 'multipart/form-data; boundary=b' } })
    expect(set).toEqual({ [MODEL]: 'sql', [BASE]: 'llama' })
  })
})
