/**
 * `npm run soak`: 200 streams of 60 s at a time for four minutes, then 100,000 requests, through a real Envoy. Prints what it
 * measured and ends with status 1 when a bound of issue 3 does not hold.
 */
import { resolveEnvoy } from '../../src/cli/envoy/resolve-envoy.ts'
import { runSoak } from './run-soak.ts'
import { broken } from './bounds.ts'

const report = await runSoak({
  envoy: await resolveEnvoy(),
  streams: 200,
  streamSeconds: 60,
  rounds: 4,
  requests: 100_000,
  log: line => process.stdout.write(`${line}\n`),
})
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
const problems = broken(report)
for (const problem of problems) process.stdout.write(`BROKEN: ${problem}\n`)
process.exitCode = problems.length > 0 ? 1 : 0
