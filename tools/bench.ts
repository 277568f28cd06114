/**
 * `npm run bench`: what an exchange costs our ext_proc server, as ratios to the plainest Go server in the same run. See
 * docs/benchmarks.md for what each row is and how far to trust it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, release, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { resolveEnvoy } from '../src/cli/envoy/resolve-envoy.ts'
import { runBehindEnvoy } from '../test/bench/behind-envoy.ts'
import { killAll, output } from '../test/bench/child-programs.ts'
import { startEndpoints } from '../test/bench/contenders.ts'
import { topFunctions } from '../test/bench/cpu-profile.ts'
import { ROWS, type Row } from '../test/bench/matrix.ts'
import {
  printEnvoy,
  printRows,
  printScrape,
  reportRows,
  scrapeGoalMet,
  type ScrapeReport,
} from '../test/bench/report.ts'
import { runMatrix } from '../test/bench/run-matrix.ts'
import { buildYardsticks, type Yardsticks } from '../test/bench/yardsticks.ts'

const HELP = `Usage: node tools/bench.ts [options]          (npm run bench -- [options])

Measures the CPU of our ext_proc server per exchange, beside the Go yardstick refserver (where Go and ../shared/bench are there) and
a trivial grpc-js server. Ratios within one run are what counts; the machine may be busy.

  --quick            about a minute: short runs, no Envoy
  --rounds N         runs of each contender in turn, the median counts [3]
  --seconds N        length of a run [4; quick: 0.8]
  --only ID,…        only these rows: ${ROWS.map(row => row.id).join(', ')}; and scrape, envoy
  --no-go            do as if Go were not there
  --profile          profile our servers (node --cpu-prof) and print their top functions; the figures suffer
  --micro            only the micro benchmarks: exchange in process, JSON scan, pick, scrape
  --json FILE        write everything found there
  --strict           exit with 1 when a goal is missed (errors always do)
`

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const BENCHES = join(ROOT, 'test', 'bench')

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string' },
    only: { type: 'string' },
    'no-go': { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    micro: { type: 'boolean', default: false },
    json: { type: 'string' },
    strict: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (values.micro) {
    for (const name of ['exchange', 'json-scan', 'pick', 'scrape']) {
      console.log(`\n${name}\n${await output(process.execPath, [join(BENCHES, `${name}.bench.ts`)])}`)
    }
    return 0
  }
  const rounds = positive('--rounds', values.rounds)
  const seconds = positive('--seconds', values.seconds ?? (values.quick ? '0.8' : '4'))
  const only = values.only?.split(',')
  const known = new Set([...ROWS.map(row => row.id), 'scrape', 'envoy'])
  for (const id of only ?? []) if (!known.has(id)) throw new Error(`--only: there is no row '${id}'; see --help`)
  const wanted = (id: string) => only === undefined || only.includes(id)
  // A row that is a share of another one needs that one too.
  let rows = ROWS.filter(row => wanted(row.id) || ROWS.some(other => wanted(other.id) && other.goal?.row === row.id))

  const yardsticks = await yardsticksOrWhyNot()
  if (yardsticks === undefined) rows = leaveOutLargeLook(rows)
  const machine = describeMachine()
  console.log(`${machine}\n`)
  const endpoints = await startEndpoints(8, yardsticks)
  const errors: string[] = []
  const profiles = values.profile ? await mkdtemp(join(tmpdir(), 'signalbox-profile-')) : undefined
  const nodeArgs = profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`]

  const matrix = await runMatrix({ rows, rounds, seconds, endpoints, yardsticks, nodeArgs, progress })
  errors.push(...matrix.errors)
  const reports = reportRows(rows, matrix.samples)
  progress('')
  console.log(printRows(reports))
  if (profiles !== undefined) {
    console.log(`\nTop functions of our servers, warm-up included:\n${await topFunctions(profiles, 30)}`)
    await rm(profiles, { recursive: true, force: true })
  }

  let scrape: ScrapeReport | undefined
  if (wanted('scrape')) {
    scrape = await measureScraping(yardsticks, Math.max(3, seconds))
    console.log(`\n${printScrape(scrape)}`)
  }
  const envoy = await measureBehindEnvoy(only === undefined ? !values.quick : wanted('envoy'), yardsticks)
  if (envoy !== undefined) {
    errors.push(...envoy.errors)
    console.log(`\n${printEnvoy(envoy)}`)
  }
  if (values.json !== undefined) {
    const document = { machine, date: new Date().toISOString(), rounds, seconds, rows: reports, scrape, envoy, errors }
    await writeFile(values.json, `${JSON.stringify(document, undefined, 2)}\n`)
  }
  for (const error of errors) console.log(`ERROR ${error}`)
  const missed = reports.filter(({ goal }) => goal?.met === false).length + (scrape && !scrapeGoalMet(scrape) ? 1 : 0)
  if (missed > 0) console.log(`\n${missed} goal${missed > 1 ? 's' : ''} missed`)
  return errors.length > 0 || (values.strict && missed > 0) ? 1 : 0

  async function measureBehindEnvoy(ask: boolean, go: Yardsticks | undefined) {
    if (!ask) return undefined
    if (go === undefined) {
      console.log('\nLEFT OUT: behind Envoy (needs httpload)')
      return undefined
    }
    try {
      const { path: binary } = await resolveEnvoy({ onProgress: progress })
      const result = await runBehindEnvoy({ binary, rounds, seconds, endpoints, yardsticks: go, progress })
      progress('')
      return result
    } catch (error) {
      errors.push(`behind Envoy: ${(error as Error).message}`)
      return undefined
    }
  }
}

async function yardsticksOrWhyNot(): Promise<Yardsticks | undefined> {
  const built = values['no-go'] ? '--no-go was given' : await buildYardsticks(ROOT)
  if (typeof built !== 'string') return built
  console.log(`LEFT OUT: the Go yardsticks, because ${built}.`)
  console.log('No ratio to refserver, no run behind Envoy; the load comes from a generator of ours in TypeScript.\n')
  return undefined
}

/** node's HTTP/2 client drops answers that came when a stream ends while its own upload waits: a large body is not for our generator. */
function leaveOutLargeLook(rows: readonly Row[]): Row[] {
  const kept = rows.filter(row => !row.id.startsWith('look-220k'))
  if (kept.length < rows.length) console.log('LEFT OUT: look at 220 KB (needs extprocload)\n')
  return kept
}

async function measureScraping(yardsticks: Yardsticks | undefined, seconds: number): Promise<ScrapeReport> {
  progress('scraping 100 endpoints')
  const at = await startEndpoints(100, yardsticks)
  const args = [join(BENCHES, 'scrape.bench.ts'), '--at', at.join(','), '--seconds', String(seconds)]
  const lines = (await output(process.execPath, args)).trim().split('\n')
  progress('')
  return JSON.parse(lines.at(-1)!) as ScrapeReport
}

function describeMachine(): string {
  const model = cpus()[0]?.model ?? 'unknown CPU'
  return `${model}, ${availableParallelism()} cores, Linux ${release()}, Node ${process.versions.node}`
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`${name}: '${text}' is no positive number`)
  return value
}

/** A line that the next one replaces; nothing where nobody watches. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    killAll()
    process.exit(1)
  })
}
try {
  process.exitCode = await main()
} catch (error) {
  console.error(`bench: ${(error as Error).message}`)
  process.exitCode = 2
} finally {
  killAll()
}
