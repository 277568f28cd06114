import { describe, expect, it } from '@jest/globals'
import { headerName } from '../../extproc/header-view.ts'
import { agentHeaders } from '../scheduling/plugins/agent-identity.ts'
import { headersOf } from '../scheduling/plugins/testing.ts'
import { fairnessIdOf, priorityOf, timeoutOf, ttftTargetOf } from './request-terms.ts'

describe('whom a request belongs to (epp.md §8.2, director)', () => {
  const agents = agentHeaders({ additionalSessionHeaders: ['X-My-Session'] }).map(headerName)
  const idOf = (headers: Readonly<Record<string, string>>) => fairnessIdOf(headersOf(headers), agents)

  it.each<[string, Readonly<Record<string, string>>, string]>([
    ['nobody says', {}, 'default-flow'],
    ['the header', { 'x-llm-d-inference-fairness-id': 'a' }, 'a'],
    ['its deprecated name', { 'x-gateway-inference-fairness-id': 'b' }, 'b'],
    ['both names', { 'x-gateway-inference-fairness-id': 'b', 'x-llm-d-inference-fairness-id': 'a' }, 'a'],
    ['an agent', { 'x-claude-code-session-id': 's' }, 's'],
    ['an agent, by another header', { session_id: 's' }, 's'],
    ['an agent, by a header of the configuration', { session_id: 's', 'x-my-session': 'm' }, 'm'],
    ['an agent and the header', { 'x-claude-code-session-id': 's', 'x-gateway-inference-fairness-id': 'b' }, 'b'],
    ['an empty header', { 'x-llm-d-inference-fairness-id': '', 'x-claude-code-session-id': 's' }, 's'],
  ])('%s', (_, headers, expected) => {
    expect(idOf(headers)).toBe(expected)
  })

  it('is nothing that agents say where the plug-in is not configured', () => {
    expect(fairnessIdOf(headersOf({ 'x-claude-code-session-id': 's' }))).toBe('default-flow')
  })

  it('is cut where it is long', () => {
    expect(idOf({ 'x-llm-d-inference-fairness-id': 'x'.repeat(10_000) })).toBe('x'.repeat(256))
  })
})

it.each<[Readonly<Record<string, string>>, number]>([
  [{}, 0],
  [{ 'x-llm-d-inference-objective': 'batch' }, -3],
  [{ 'x-gateway-inference-objective': 'batch' }, -3],
  [{ 'x-gateway-inference-objective': 'batch', 'x-llm-d-inference-objective': 'urgent' }, 10],
  // H14: one that there is not.
  [{ 'x-llm-d-inference-objective': 'nobody-knows-it' }, 0],
  [{ 'x-gateway-inference-objective': 'batch', 'x-llm-d-inference-objective': 'nobody-knows-it' }, 0],
])('the priority of %j is %d', (headers, expected) => {
  const objectives = new Map([
    ['batch', -3],
    ['urgent', 10],
  ])
  expect(priorityOf(headersOf(headers), objectives)).toBe(expected)
})

it.each<[Readonly<Record<string, string>>, number]>([
  [{}, Number.POSITIVE_INFINITY],
  [{ 'grpc-timeout': '250m' }, 250],
  [{ 'x-envoy-expected-rq-timeout-ms': '400' }, 400],
  [{ 'grpc-timeout': '2S', 'x-envoy-expected-rq-timeout-ms': '400' }, 400],
  [{ 'grpc-timeout': 'soon', 'x-envoy-expected-rq-timeout-ms': '0' }, Number.POSITIVE_INFINITY],
])('the time of %j is %d ms', (headers, expected) => {
  expect(timeoutOf(headersOf(headers))).toBe(expected)
})

it.each<[Readonly<Record<string, string>>, number]>([
  [{}, Number.POSITIVE_INFINITY],
  [{ 'x-llm-d-slo-ttft-ms': '200', 'x-slo-ttft-ms': '300' }, 200],
  [{ 'x-slo-ttft-ms': '300' }, 300],
  [{ 'x-slo-ttft-ms': '-1' }, Number.POSITIVE_INFINITY],
])('the time to the first token of %j is %d ms', (headers, expected) => {
  expect(ttftTargetOf(headersOf(headers))).toBe(expected)
})
