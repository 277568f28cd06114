/** `npm run fuzz`: see HELP. */
import { parseArgs } from 'node:util'
import { fuzz } from './run.ts'
import type { FuzzTarget } from './target.ts'
import { FUZZ_TARGETS } from './targets.ts'

const HELP = `Usage: node test/fuzz/fuzz.ts [options]          (npm run fuzz -- [options])

Plays random and mutated input against the data path, differentially where there is another implementation. Ends with 1 at the first
finding, which tells how to play it again.

  --cases N      of each target [100000]
  --seed S       other cases [1]
  --from I       begin at run I of the seed [0]
  --only NAME,…  ${Object.keys(FUZZ_TARGETS).join(', ')} [all]
`

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
    const make = FUZZ_TARGETS[name]
    if (make === undefined) throw new Error(`--only: there is no target '${name}'; see --help`)
    const target = make()
    const tell = (cases: number, seconds: number): void =>
      console.log(`${name}: ${cases} ${target.unit}, ${Math.round(cases / seconds)}/s, ${memory()}`)
    try {
      const { cases, seconds } = await fuzz(target, options, run => tell(run.cases, run.seconds))
      tell(cases, seconds)
      console.log(summary(target))
    } catch (error) {
      console.log((error as Error).message)
      console.log(((error as Error).cause as Error | undefined)?.stack ?? '')
      return 1
    } finally {
      await target.close?.()
    }
  }
  return 0
}

function summary({ seen }: FuzzTarget): string {
  const parts = [...seen].toSorted(([, a], [, b]) => b - a).map(([what, times]) => `${what} ${times}`)
  return `  ${parts.join(', ')}`
}

function memory(): string {
  return `${Math.round(process.memoryUsage().rss / 1024 / 1024)} MiB`
}

function whole(option: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`${option}: '${text}' is no number`)
  return Number(text)
}

process.exitCode = await main()
