/** The catalogue of statuses (epp.md §1.4): a row each, with the header and the body that a client gets. Where ours differs from llm-d's, the row says so. */
import { describe, expect, it } from '@jest/globals'
import { waitFor } from '../support/wait-for.ts'
import type { Answer } from './picker-answer.ts'
import { HERMETIC, PickerRig, pod } from './picker-rig.ts'
import { type Session, subset } from './picker-session.ts'

const REASON = 'x-llm-d-request-dropped-reason'
const body = '{"model":"m","prompt":"words"}'
const idle = [pod(0, 0)]
const CHAT = '/v1/chat/completions'

const withPlugins = (...plugins: readonly string[]) =>
  HERMETIC.replace('plugins:\n', `plugins:\n${plugins.map(plugin => `- ${plugin}\n`).join('')}`)
/** Another profile than the one of all scorers. */
const profile = (plugins: readonly string[]) => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
${plugins.map(plugin => `- ${plugin}`).join('\n')}
schedulingProfiles:
- { name: default, plugins: [{ pluginRef: chosen }] }
`
const FULL = '{ type: concurrency-detector, name: full, parameters: { maxConcurrency: 1 } }'
const queues = (flowControl: string) => `${withPlugins(FULL)}
featureGates: [flowControl]
flowControl: { saturationDetector: { pluginRef: full }, ${flowControl} }
`
const PARSERS = `${HERMETIC}- type: openai-parser\nrequestHandler: { parsers: [{ pluginRef: openai-parser }] }\n`
const SCREENER = withPlugins(
  '{ type: disaggregatedset-rollout-screener, parameters: { scope: { labelSelector: app=x }, revisionGating: { mode: sum, requireRoles: { values: [decode] } } } }',
)
const objective = (name: string, priority: number) => `
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: ${name} }
spec: { priority: ${priority}, poolRef: { name: pool } }
`
const as = (name: string) => ({ 'x-llm-d-inference-objective': name })

/** To a request that may have to wait for its answer. */
async function answerTo(session: Session): Promise<Answer['refusal']> {
  await waitFor('the answer', () => session.isAnswered)
  return session.answer.refusal
}

/** A pool whose queue holds one request, with one on its way and `waiting` in it. */
function queued(flowControl: string, more = '') {
  const rig = new PickerRig(idle, queues(flowControl), more)
  const running = rig.open({ body })
  return { rig, running, waiting: rig.begin({ body }) }
}

type Refusal = Answer['refusal']

interface Row {
  readonly when: string
  readonly is: readonly [status: number, code: string, reason?: string]
  readonly ask: () => Refusal | Promise<Refusal>
}

const ROWS: readonly Row[] = [
  {
    when: 'the body is no JSON',
    is: [400, 'invalid_json'],
    ask: () => new PickerRig(idle).send({ body: 'no JSON' }).refusal,
  },
  {
    when: 'a field that the API needs is not there',
    is: [400, 'invalid_field'],
    ask: () => new PickerRig(idle).send({ path: CHAT, body: '{"model":"m"}' }).refusal,
  },
  {
    when: 'no parser reads the path',
    is: [400, 'no_parser'],
    ask: () => new PickerRig(idle, PARSERS).send({ path: '/unknown', body }).refusal,
  },
  {
    when: 'there is no model',
    is: [400, 'missing_model'],
    ask: () => new PickerRig(idle).send({ body: '{"prompt":"x"}' }).refusal,
  },
  {
    when: 'the pool is empty',
    is: [503, 'no_endpoints', 'rejected-no-endpoints'],
    ask: () => new PickerRig([]).send({ body }).refusal,
  },
  {
    when: 'none of the subset is there',
    is: [503, 'no_endpoints', 'rejected-no-endpoints'],
    ask: () => new PickerRig(idle).send({ body, metadata: subset(['10.9.9.9:8000']) }).refusal,
  },
  {
    // llm-d: no reason.
    when: 'screeners leave none',
    is: [503, 'no_endpoints', 'rejected-no-endpoints'],
    ask: () => new PickerRig(idle, SCREENER).send({ body }).refusal,
  },
  {
    // llm-d: 500, no reason.
    when: 'the pool is empty and there is no body',
    is: [503, 'no_endpoints', 'rejected-no-endpoints'],
    ask: () => new PickerRig([]).send({ path: '/version' }).refusal,
  },
  {
    // llm-d: 500, no reason.
    when: 'an admitter says no',
    is: [429, 'not_admitted', 'rejected-saturated'],
    ask: () =>
      new PickerRig(
        [pod(2, 0.1)],
        withPlugins('{ type: probabilistic-admitter, parameters: { power: 1, k: 1000 } }'),
        objective('batch', -1),
      ).send({ body, headers: as('batch') }).refusal,
  },
  {
    when: 'filters leave none',
    is: [429, 'filtered', 'rejected-saturated'],
    ask: () => {
      const filter = '{ type: label-selector-filter, name: chosen, parameters: { matchLabels: { nobody: has-it } } }'
      return new PickerRig(idle, profile([filter])).send({ body }).refusal
    },
  },
  {
    when: 'there is no such profile',
    is: [429, 'unknown_profile'],
    ask: () => {
      const config = `${profile(['type: header-profile-handler', '{ type: queue-scorer, name: chosen }'])}- { name: other, plugins: [] }\n`
      return new PickerRig(idle, config).send({ body, headers: { 'epp-profile': 'unheard-of' } }).refusal
    },
  },
  {
    when: 'it may be shed, and the pool is saturated',
    is: [429, 'shed', 'rejected-saturated'],
    ask: () =>
      new PickerRig([pod(50, 1)], HERMETIC, objective('batch', -1)).send({ body, headers: as('batch') }).refusal,
  },
  {
    when: 'the queue is full',
    is: [429, 'queue_full', 'rejected-saturated'],
    ask: () => queued('maxRequests: 1').rig.send({ body }).refusal,
  },
  {
    when: 'it has waited too long',
    is: [429, 'queue_timeout', 'rejected-ttl-expired'],
    ask: () => answerTo(queued('defaultRequestTTL: 20ms').waiting),
  },
  {
    when: 'it has waited too long for any endpoint',
    is: [503, 'no_endpoints', 'rejected-no-endpoints'],
    ask: () => answerTo(new PickerRig([], queues('noEndpointRequestTTL: 20ms')).begin({ body })),
  },
  {
    when: 'the pool that it waits for goes',
    is: [503, 'no_endpoints', 'rejected-no-endpoints'],
    ask: () => {
      const { rig, waiting } = queued('defaultRequestTTL: 1h')
      rig.plan.update({ ...rig.compiled, pools: [], entries: [], gatewayPools: [] })
      return answerTo(waiting)
    },
  },
  {
    when: 'it waits when we shut down',
    is: [503, 'shutting_down', 'rejected-shutting-down'],
    ask: () => {
      const { rig, waiting } = queued('defaultRequestTTL: 1h')
      rig.plan.linked.refuseWaiting()
      return answerTo(waiting)
    },
  },
  {
    when: 'it would have to wait when we shut down',
    is: [503, 'shutting_down', 'rejected-shutting-down'],
    ask: () => {
      const { rig } = queued('defaultRequestTTL: 1h')
      rig.plan.linked.refuseWaiting()
      return rig.send({ body }).refusal
    },
  },
  {
    when: 'it was sent on, and is called back',
    is: [429, 'evicted', 'evicted'],
    ask: async () => {
      const rig = new PickerRig(
        idle,
        queues('enableEviction: true'),
        [objective('batch', -1), objective('urgent', 5)].join('---'),
      )
      const batch = rig.open({ body, headers: as('batch') })
      rig.begin({ body, headers: as('urgent') })
      let refusal: Refusal
      await waitFor('it to be called back', () => (refusal = batch.revocation) !== undefined)
      return refusal
    },
  },
  {
    when: 'it is only wanted where its prompt is cached',
    is: [412, 'not_cached'],
    ask: () => new PickerRig(idle).send({ body, headers: { prefer: 'if-available' } }).refusal,
  },
]

describe('the catalogue of statuses', () => {
  it.each(ROWS)('$is.0 $is.1: $when', async ({ is: [status, code, reason], ask }) => {
    const refusal = await ask()
    expect(refusal).toBeDefined()
    expect([refusal!.status, refusal!.headers[REASON]]).toEqual([status, reason])
    expect(refusal!.headers['content-type']).toBe('application/json')
    expect(refusal!.headers['retry-after']).toBe(status === 429 || status === 503 ? '1' : undefined)
    const { error } = JSON.parse(refusal!.body) as { error: Readonly<Record<string, string | null>> }
    const type = status === 429 ? 'rate_limit_error' : status === 503 ? 'server_error' : 'invalid_request_error'
    expect([error['type'], error['code']]).toEqual([type, code])
    expect(error['message']).toMatch(/^[A-Z].{20,}\.$/)
    expect(Object.keys(error)).toEqual(['message', 'type', 'param', 'code'])
  })

  it('who has gone gets no answer', async () => {
    const { rig, running, waiting } = queued('defaultRequestTTL: 1h')
    waiting.close()
    running.respond({ ':status': '200', 'content-type': 'application/json' }, ['{}'])
    running.close()
    // What comes next is served at once, in the place of the one.
    expect((await answerTo(rig.begin({ body })))?.status).toBeUndefined()
    expect([waiting.isAnswered, rig.inFlight]).toEqual([false, 1])
  })
})
