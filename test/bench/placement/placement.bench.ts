/**
 * Compares placements in simulation (docs/placement.md). Prints both tables and issue 5's goals, and writes the figure to docs/placement.svg.
 *
 *     npm run bench:placement [-- [--hold-out | --unseen] <seed> …]
 *
 * A minute of CPU for the three seeds that are the default; the same figures on every machine. `--hold-out` runs engines other than
 * those that constants were chosen on, with other seeds; `--unseen` those that were thought of last: two to three minutes, one table.
 */
import { writeFileSync } from 'node:fs'
import { CONTENDERS, THEIRS } from './contenders.ts'
import { LLM_D_DEFAULT } from './llm-d-default.ts'
import { plotGoodput } from './plot.ts'
import { detailTable, goodputTable, holdOutTable, margins, type Row, rowsOf } from './report.ts'
import { HOLD_OUT, type Setup, TUNED, UNSEEN } from './setups.ts'
import { simulate } from './simulation.ts'
import { workloads } from './workloads.ts'

const KINDS: Readonly<Record<string, { readonly setups: readonly Setup[]; readonly seeds: readonly number[] }>> = {
  '--hold-out': { setups: HOLD_OUT, seeds: [21, 22] },
  '--unseen': { setups: UNSEEN, seeds: [51, 52] },
}

const given = process.argv.slice(2).filter(each => !Object.hasOwn(KINDS, each))
const kind = KINDS[process.argv.slice(2).find(each => Object.hasOwn(KINDS, each)) ?? '']
const seeds = given.length > 0 ? given.map(Number) : (kind?.seeds ?? [1, 2, 3])
if (!seeds.every(Number.isInteger)) {
  console.error('usage: npm run bench:placement [-- [--hold-out | --unseen] <seed> …]')
  process.exit(2)
}

function run(setup: Setup): Row[] {
  const outcomes = seeds.flatMap(seed =>
    workloads(seed, undefined, setup).flatMap(workload =>
      CONTENDERS.map(contender => simulate(workload, contender, seed)),
    ),
  )
  return rowsOf(workloads(seeds[0]!, undefined, setup), CONTENDERS, outcomes)
}

if (kind !== undefined) {
  const setups = kind.setups.map(setup => ({ setup, rows: run(setup) }))
  console.log(holdOutTable(setups, CONTENDERS))
} else {
  const rows = run(TUNED)
  console.log(`${goodputTable(rows, CONTENDERS)}\n\n${detailTable(rows, CONTENDERS)}`)
  const { above, behind, behindOn } = margins(rows, CONTENDERS, LLM_D_DEFAULT, THEIRS)
  const verdict = (met: boolean) => (met ? 'MET' : 'MISSED')
  console.log(`
Above llm-d's default on average ≥ 15 points: ${above.toFixed(1)}  ${verdict(above >= 15)}
Behind the best of the others ≤ 3 points: ${Math.max(0, behind).toFixed(1)} (${behindOn})  ${verdict(behind <= 3)}`)
  if (given.length === 0)
    writeFileSync(new URL('../../../docs/placement.svg', import.meta.url), plotGoodput(rows, CONTENDERS))
}
