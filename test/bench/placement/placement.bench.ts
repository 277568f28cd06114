/**
 * Compares placements in simulation (docs/placement.md). Prints both tables and writes the figure to docs/placement.svg.
 *
 *     npm run bench:placement [-- <seed> …]
 *
 * Half a minute of CPU for the three seeds that are the default; the same figures on every machine.
 */
import { writeFileSync } from 'node:fs'
import { CONTENDERS } from './contenders.ts'
import { plotGoodput } from './plot.ts'
import { detailTable, goodputTable, rowsOf } from './report.ts'
import { simulate } from './simulation.ts'
import { workloads } from './workloads.ts'

const seeds = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1, 2, 3]
if (!seeds.every(Number.isInteger)) {
  console.error('usage: npm run bench:placement [-- <seed> …]')
  process.exit(2)
}
const outcomes = seeds.flatMap(seed =>
  workloads(seed).flatMap(workload => CONTENDERS.map(contender => simulate(workload, contender, seed))),
)
const rows = rowsOf(workloads(seeds[0]!), CONTENDERS, outcomes)
console.log(`${goodputTable(rows, CONTENDERS)}\n\n${detailTable(rows, CONTENDERS)}`)
if (process.argv.length === 2)
  writeFileSync(new URL('../../../docs/placement.svg', import.meta.url), plotGoodput(rows, CONTENDERS))
