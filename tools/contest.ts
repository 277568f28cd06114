/**
 * `npm run contest`: a placement contest with real processes (docs/placement.md): model servers, an Envoy for each contender, and
 * clients that stream. Takes as long as its workloads.
 */
import { writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { resolveEnvoy } from '../src/cli/envoy/resolve-envoy.ts'
import { killAll } from '../test/bench/child-programs.ts'
import { type Run, run } from '../test/bench/contest/contest.ts'
import { CONTESTANTS } from '../test/bench/contest/contestants.ts'
import { ContestUsageError, HELP, parseContestOptions } from '../test/bench/contest/options.ts'
import {
  findPeer,
  INFERENCE_SIM,
  LLM_D_EPP,
  type PeerBinary,
  peerFolders,
} from '../test/bench/contest/peer-binaries.ts'
import { detailTable, goodputTable, rowsOf } from '../test/bench/placement/report.ts'
import { workloads } from '../test/bench/placement/workloads.ts'

/** Clients that are later than this (99th percentile) say that others wanted the machine. */
const BUSY_MS = 15

const checkout = dirname(dirname(fileURLToPath(import.meta.url)))

function missing({ name, variable }: PeerBinary, what: string): void {
  const [folder] = peerFolders(process.env, checkout)
  console.log(`${what.toUpperCase()}: ${name} is neither $${variable}, nor on the PATH, nor in ${folder}`)
}

async function main(): Promise<void> {
  const options = parseContestOptions(process.argv.slice(2))
  if (options === 'help') {
    console.log(HELP)
    return
  }
  const envoy = await resolveEnvoy({ onProgress: line => console.log(line) })
  const find = (peer: PeerBinary) => findPeer(peer, process.env, checkout)
  const [epp, simulator] = await Promise.all([find(LLM_D_EPP), options.own ? undefined : find(INFERENCE_SIM)])
  const replicas = simulator === undefined ? 'signalbox sim' : 'llm-d-inference-sim'
  if (simulator === undefined && !options.own) missing(INFERENCE_SIM, 'the model servers are our own simulator')
  let contenders = CONTESTANTS.filter(({ name }) => options.contenders.includes(name))
  if (epp === undefined && options.contenders.includes('llm-d')) {
    missing(LLM_D_EPP, "skipped: llm-d's endpoint picker")
    contenders = contenders.filter(({ name }) => name !== 'llm-d')
  }
  const { setup, seeds } = options
  const chosen = (seed: number) =>
    workloads(seed, (options.seconds * 1000) / setup.pace, setup).filter(({ name }) => options.workloads.includes(name))
  console.log(
    `Envoy ${envoy.version}, ${replicas}, engines: ${setup.title}, seeds ${seeds.join(', ')}, ${new Date().toISOString()}`,
  )
  const runs: Run[] = []
  for (const seed of seeds) {
    for (const workload of chosen(seed)) {
      const waiting = [...contenders]
      const each = async () => {
        for (let contender = waiting.shift(); contender !== undefined; contender = waiting.shift()) {
          const binaries = { envoy: envoy.path, epp }
          const one = await run(workload, contender, { binaries, simulator, api: options.api }).catch(
            (error: unknown) => {
              console.log(`${workload.name}, seed ${seed}, ${contender.name}: NOT RUN: ${(error as Error).stack}`)
              process.exitCode = 1
            },
          )
          if (one === undefined) continue
          runs.push(one)
          const { good, ttft, hits, requests, failed } = one.outcome
          console.log(
            `${workload.name}, seed ${seed}, ${contender.name}: ${(good * 100).toFixed(1)} % good of ${requests}, ` +
              `TTFT p50 ${ttft.p50.toFixed(0)} p90 ${ttft.p90.toFixed(0)} ms, hits ${(hits * 100).toFixed(1)} %, ${failed} failed` +
              (one.lateMs < BUSY_MS ? '' : `; THE MACHINE WAS BUSY (clients late by ${one.lateMs.toFixed(0)} ms)`),
          )
          for (const [reason, count] of one.failures) console.log(`    ${count} x ${reason}`)
        }
      }
      await Promise.all(Array.from({ length: options.atOnce }, each))
    }
  }
  const rows = rowsOf(
    chosen(seeds[0]!),
    contenders,
    runs.map(({ outcome }) => outcome),
  )
  console.log(`\n${goodputTable(rows, contenders)}\n\n${detailTable(rows, contenders)}`)
  if (options.json !== undefined) {
    const outcomes = runs.map(({ outcome, failures, lateMs }) => ({
      ...outcome,
      lateMs,
      failures: Object.fromEntries(failures),
    }))
    const head = { at: new Date().toISOString(), envoy: envoy.version, replicas, engines: setup.name, seeds }
    await writeFile(options.json, `${JSON.stringify({ ...head, outcomes }, undefined, 1)}\n`)
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
process.once('exit', killAll)
try {
  await main()
} catch (error) {
  console.error(error instanceof ContestUsageError ? `${error.message}\n${HELP}` : (error as Error).stack)
  process.exitCode = error instanceof ContestUsageError ? 2 : 1
}
