import { expect, it } from '@jest/globals'
import { entry, Play, plan, pool, rule, sendBody, target } from '../../test/support/pipeline-play.ts'
import { poolPlan } from '../inference/testing.ts'

const BODY = '{"model":"a","messages":[{"role":"user","content":"x"}]}'

/** Headers that the response to a request gets. */
function stamped(
  labels: Readonly<Record<string, string>>,
  labelHeaders?: readonly { header: string; label: string }[],
) {
  const rules = [rule('r', { targets: [target('t', { pool: 'p' })] })]
  const entries = [entry(rules, { attach: 'gateway', followResponse: true, body: 'full-duplex' })]
  const endpoints = [{ address: '10.0.0.1:8000', labels }]
  const { scheduling } = poolPlan([])
  const told = { ...scheduling, ...(labelHeaders === undefined ? {} : { labelHeaders }) }
  const made = new Play(plan(entries, [pool('p', [], { endpoints, scheduling: told })]), 'response')
  const envoy = made.open({ mode: 'duplex', body: '' })
  sendBody(envoy, BODY, true)
  envoy.receives()
  const headers = [{ key: ':status', rawValue: Buffer.from('200') }]
  envoy.sends({ request: { case: 'responseHeaders', value: { headers: { headers }, endOfStream: true } } })
  return envoy.receivesWords()
}

it('responses tell labels of the endpoint that the plan names, as far as it has them', () => {
  const headers = [
    { header: 'x-revision', label: 'revision' },
    { header: 'x-zone', label: 'zone' },
  ]
  expect(stamped({ revision: 'rev-1', role: 'decode' }, headers)).toEqual(['resp-hdr(x-revision=rev-1)'])
  expect(stamped({}, headers)).toEqual(['resp-hdr'])
  expect(stamped({ revision: 'rev-1' })).toEqual(['resp-hdr'])
})
