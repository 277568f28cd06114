/** A share of `npm run fuzz`, the same cases every time. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { fuzz } from './run.ts'
import { FUZZ_TARGETS } from './targets.ts'

/** A second or two each. */
const CASES: Readonly<Record<string, number>> = {
  exchange: 10_000,
  'ext-proc': 10_000,
  frames: 10_000,
  'frames-node': 5000,
  hpack: 10_000,
}

describe.each(Object.keys(FUZZ_TARGETS))('fuzz %s', name => {
  const target = FUZZ_TARGETS[name]!()
  afterAll(() => target.close?.())

  it('finds nothing', async () => {
    const run = await fuzz(target, { cases: CASES[name]!, seed: 2024 })
    expect(run.cases).toBeGreaterThanOrEqual(CASES[name]!)
    // Each kind of outcome came up.
    expect(target.seen.size).toBeGreaterThan(2)
  })
})
