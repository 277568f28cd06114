/** `npm run fuzz`: see HELP. */
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import type { FuzzNews, FuzzTask } from './fuzz-worker.ts'
import { playAgain } from './run.ts'
import { FUZZ_TARGETS } from './targets.ts'

const HELP = `Usage: node test/fuzz/fuzz.ts [options]          (npm run fuzz -- [options])

Plays random and mutated input against the data path, differentially where there is another implementation. Ends with 1 at the first
finding of a target, which tells how to play it again; a run that takes longer than half a minute is one, too.

  --cases N      of each target [100000]
  --seed S       other cases [1]
  --from I       begin at run I of the seed [0]
  --only NAME,…  ${Object.keys(FUZZ_TARGETS).join(', ')} [all]
`
const HANG_MS = 30_000

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    only: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  const options = {
    cases: whole('--cases', values.cases),
    seed: whole('--seed', values.seed),
    from: whole('--from', values.from),
  }
  const names = values.only?.split(',') ?? Object.keys(FUZZ_TARGETS)
  for (const name of names) {
    if (!Object.hasOwn(FUZZ_TARGETS, name)) throw new Error(`--only: there is no target '${name}'; see --help`)
  }
  let findings = 0
  for (const name of names) if (!(await play({ name, ...options }))) findings++
  return findings === 0 ? 0 : 1
}

/** False: something was found. */
async function play(task: FuzzTask): Promise<boolean> {
  const underWay = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  const worker = new Worker(new URL('fuzz-worker.ts', import.meta.url), { workerData: { ...task, underWay } })
  let fine = false
  let last = -1
  const watch = setInterval(() => {
    const index = Atomics.load(underWay, 0)
    if (index === last) {
      console.log(`${task.name}: hangs\n  again: ${playAgain(task.name, task.seed, index)}`)
      void worker.terminate()
    }
    last = index
  }, HANG_MS)
  worker.on('message', ({ unit, run, end }: FuzzNews) => {
    if (run !== undefined) {
      const memory = Math.round(process.memoryUsage().rss / 1024 / 1024)
      console.log(`${task.name}: ${run.cases} ${unit}, ${Math.round(run.cases / run.seconds)}/s, ${memory} MiB`)
    }
    if (end === undefined) return
    // What is left is only to be closed.
    clearInterval(watch)
    fine = 'summary' in end
    console.log('summary' in end ? `  ${end.summary}` : end.finding)
  })
  worker.on('error', error => console.log(`${task.name}: ${String(error)}`))
  await once(worker, 'exit')
  clearInterval(watch)
  return fine
}

function whole(option: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`${option}: '${text}' is no number`)
  return Number(text)
}

process.exitCode = await main()
