import { expect, it } from '@jest/globals'
import { FLOW_OUTCOMES } from '../inference/flow-control/flow-outcome.ts'
import { poolGone, queueFull, queueTimeout, queueTimeoutWithoutEndpoints, shuttingDown } from '../llm/queue-errors.ts'
import { queueOutcome } from './queue-outcome.ts'

it.each([
  ['goes on', undefined, false, 'Dispatched'],
  ['goes on later', undefined, true, 'Dispatched'],
  ['is one too many', queueFull(), false, 'RejectedCapacity'],
  ['has waited too long', queueTimeout(), true, 'EvictedTTL'],
  ['has waited too long for any endpoint', queueTimeoutWithoutEndpoints(), true, 'EvictedNoEndpoints'],
  ['waits for a pool that goes', poolGone(), true, 'EvictedNoEndpoints'],
  ['waits when we shut down', shuttingDown(), true, 'EvictedOther'],
  ['comes when we shut down', shuttingDown(), false, 'RejectedOther'],
])('what %s', (_name, problem, waited, outcome) => {
  expect(FLOW_OUTCOMES[queueOutcome(problem, waited)]).toBe(outcome)
})
