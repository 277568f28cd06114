/** A short share of `npm run bench:placement`: the simulation says what it should, and our scorer does what it is for. */
import { describe, expect, it } from '@jest/globals'
import type { ContenderKind } from './contender.ts'
import { CONTENDERS, OURS, OURS_AS_THREE, OURS_AS_THREE_ALONE, OURS_ON_TWO_THREADS, THEIRS } from './contenders.ts'
import { LLM_D_DEFAULT } from './llm-d-default.ts'
import { LEAST_REQUEST } from './plain-contenders.ts'
import { plotGoodput } from './plot.ts'
import { detailTable, goodputTable, holdOutTable, margins, rowsOf } from './report.ts'
import { HOLD_OUT, TUNED, UNSEEN } from './setups.ts'
import { type Outcome, simulate } from './simulation.ts'
import { chat, uniform, workload as make, workloads } from './workloads.ts'

const MS = 5000
const ALL = workloads(7, MS)

function workload(name: string) {
  return ALL.find(each => each.name === name)!
}

const outcomes = new Map<string, Outcome>()
/** Runs are repeatable, so that one of each is enough. */
function run(name: string, contender: ContenderKind): Outcome {
  const key = `${name} ${contender.name}`
  const outcome = outcomes.get(key) ?? simulate(workload(name), contender)
  outcomes.set(key, outcome)
  return outcome
}

it('gives the same figures every time, and others for another seed', () => {
  const once = run('uniform', OURS)
  expect(simulate(workload('uniform'), OURS)).toEqual(once)
  expect(simulate(make(uniform, 8, MS), OURS)).not.toEqual(once)
})

describe("llm-d's default, as it was measured", () => {
  it('never lets a hot prefix go, and sends a burst to one replica', () => {
    for (const name of ['hot-prefix', 'bursts']) expect(run(name, LLM_D_DEFAULT).good).toBeLessThan(0.7)
  })

  it('finds prefixes that least-request does not', () => {
    const sticky = run('chat', LLM_D_DEFAULT)
    expect(sticky.hits).toBeGreaterThan(run('chat', LEAST_REQUEST).hits + 0.1)
  })
})

describe('expected time to first token', () => {
  it.each(['hot-prefix', 'bursts', 'heterogeneous', 'disaggregated'])('spreads as least-request does: %s', name => {
    const good = run(name, LEAST_REQUEST).good
    expect(run(name, OURS).good).toBeGreaterThan(good - 0.03)
  })

  it.each(['chat', 'lora'])("sticks as llm-d's default does: %s", name => {
    const [ours, theirs] = [run(name, OURS), run(name, LLM_D_DEFAULT)]
    expect(ours.good).toBeGreaterThan(theirs.good - 0.03)
    expect(ours.hits).toBeGreaterThan(theirs.hits - 0.05)
  })

  it('loses few requests to a dead replica', () => {
    const outcome = run('dying', OURS)
    expect(outcome.failed).toBeLessThan(outcome.requests * 0.1)
    expect(outcome.failed).toBeLessThan(run('dying', LEAST_REQUEST).failed)
  })
})

it("is far above llm-d's default on average, and nowhere far behind the best", () => {
  const contenders = [...THEIRS, OURS]
  const rows = rowsOf(
    ALL,
    contenders,
    ALL.flatMap(({ name }) => contenders.map(contender => run(name, contender))),
  )
  const { above, behind, behindOn } = margins(rows, contenders, LLM_D_DEFAULT, THEIRS)
  // The whole benchmark is held against 15: in so short a run queues hardly build up.
  expect(above).toBeGreaterThan(10)
  expect([behindOn, Math.max(behind, 3)]).toEqual([behindOn, 3])
})

it.each(['bursts', 'hot-prefix'])('two threads that decide place as well as one: %s', name => {
  expect(run(name, OURS_ON_TWO_THREADS).good).toBeGreaterThan(run(name, OURS).good - 0.04)
})

it('three replicas that tell each other keep conversations where they are, and others do not', () => {
  const { hits } = run('chat', OURS_AS_THREE)
  expect(hits).toBeGreaterThan(run('chat', OURS_AS_THREE_ALONE).hits + 0.05)
  expect(hits).toBeGreaterThan(run('chat', OURS).hits - 0.1)
})

describe('engines that it was not made for', () => {
  it.each([
    ['large-model', chat],
    ['mixed-batches', uniform],
  ] as const)('are learned: %s', (name, of) => {
    const setup = [...HOLD_OUT, ...UNSEEN].find(each => each.name === name)!
    const made = make(of, 9, 2 * MS, setup)
    expect(simulate(made, OURS).good).toBeGreaterThan(simulate(made, LEAST_REQUEST).good + 0.1)
  })
})

it('reports each workload and contender', () => {
  const two = [LEAST_REQUEST, OURS]
  const runs = two.map(contender => run('uniform', contender))
  const rows = rowsOf([workload('uniform')], two, runs)
  expect(goodputTable(rows, two).split('\n')).toHaveLength(4)
  expect(detailTable(rows, two).split('\n')).toHaveLength(4)
  expect(holdOutTable([{ setup: TUNED, rows }], two).split('\n')).toHaveLength(4)
  expect(plotGoodput(rows, two).match(/<circle/g)).toHaveLength(4)
  expect(CONTENDERS.at(-1)).toBe(OURS)
})
