/**
 * `npm run soak:million`: a million requests through a real Envoy with two workers while every connection is drained and replaced each few seconds, then
 * 200,000 while data path threads are killed. Ends with status 1 when one failed that should not have, or something is left behind.
 */
import { resolveEnvoy } from '../../src/cli/envoy/resolve-envoy.ts'
import { brokenMillion, runMillion } from './run-million.ts'

const requests = Number(process.argv[2] ?? 1_000_000)
const report = await runMillion({
  envoy: await resolveEnvoy(),
  requests,
  killedRequests: Math.ceil(requests / 5),
  kills: 4,
  connectionAge: 5,
  log: line => process.stdout.write(`${line}\n`),
})
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
const problems = brokenMillion(report)
for (const problem of problems) process.stdout.write(`BROKEN: ${problem}\n`)
process.exit(problems.length > 0 ? 1 : 0)
