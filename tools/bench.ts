/**
 * `npm run bench`: what an exchange costs our ext_proc server, as ratios to the plainest Go server in the same run. See
 * docs/benchmarks.md for what each row is and how far to trust it.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, release, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { resolveEnvoy } from '../src/cli/envoy/resolve-envoy.ts'
import { type EnvoyResult, runBehindEnvoy } from '../test/bench/behind-envoy.ts'
import { killAll, output } from '../test/bench/child-programs.ts'
import { parsePeer, startEndpoints } from '../test/bench/contenders.ts'
import { readProfiles } from '../test/bench/cpu-profile.ts'
import { atLeast, atMost, type GoalReport, judgeRows } from '../test/bench/goals.ts'
import { measureMemory, memoryGoals } from '../test/bench/memory.ts'
import { plotReport } from '../test/bench/plot.ts'
import {
  type BenchReport,
  type DecisionCost,
  printDecisions,
  type Picks,
  printEnvoy,
  printGoals,
  printMemory,
  printProfiles,
  printRows,
  printScrape,
  printThreads,
  reportRows,
  type ScrapeReport,
} from '../test/bench/report.ts'
import { ROWS, selectRows, type Selection } from '../test/bench/rows.ts'
import { runMatrix } from '../test/bench/run-matrix.ts'
import { measureThreads } from '../test/bench/threads.ts'
import { buildYardsticks, type Yardsticks } from '../test/bench/yardsticks.ts'

const SECTIONS = ['scrape', 'envoy', 'threads', 'picks', 'memory'] as const
type Section = (typeof SECTIONS)[number]

const HELP = `Usage: node tools/bench.ts [options]          (npm run bench -- [options])

Measures the CPU of our ext_proc server per exchange beside the Go yardstick refserver (where Go and ../shared/bench are there) and
trivial servers on grpc-js and connect-node, and prints ratios: only those of one run tell something. Four to five minutes.

  --quick            at most a minute: the rows with goals, our transport and the yardsticks, no Envoy
  --all              every row, every size, every contender: about twenty minutes
  --only ID,…        only these, with every contender: ${SECTIONS.join(', ')}; rows (those with * take part by default):
${wrapped(ROWS.map(row => `${row.id}${row.contenders.default === undefined ? '' : '*'}`))}
  --rounds N         runs of each contender in turn, the median counts [3; quick: 2]
  --seconds N        length of a run [1.5; quick: 0.8]
  --peer NAME=HOST:PORT,PID   another ext_proc server, running already; may be given several times
  --no-go            do as if Go were not there
  --profile          profile our servers and print where the time goes, by parts of the house; best with --only and one row
  --micro            only the micro benchmarks
  --json FILE        write everything found there
  --svg FILE         draw it
  --from FILE        measure nothing: print (and draw) what --json wrote
  --strict           exit with 1 when a goal is missed (errors always do)
`

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const BENCHES = join(ROOT, 'test', 'bench')
/** Shorter runs lose per cents at their ends. */
const LEAST_SCRAPE_SECONDS = 6

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    peer: { type: 'string', multiple: true, default: [] },
    'no-go': { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    micro: { type: 'boolean', default: false },
    json: { type: 'string' },
    svg: { type: 'string' },
    from: { type: 'string' },
    strict: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

const MICRO = ['json-scan', 'pick', 'hpack', 'exchange', 'scrape', 'threads']

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (values.micro) {
    for (const name of MICRO.filter(isThere)) console.log(`\n${name}\n${await output(process.execPath, [bench(name)])}`)
    return 0
  }
  const report =
    values.from === undefined ? await measure() : (JSON.parse(await readFile(values.from, 'utf8')) as BenchReport)
  print(report)
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(report, undefined, 2)}\n`)
  if (values.svg !== undefined) await writeFile(values.svg, plotReport(report))
  const missed = report.goals.filter(({ met }) => !met).length
  return report.errors.length > 0 || (values.strict && missed > 0) ? 1 : 0
}

async function measure(): Promise<BenchReport> {
  const selection: Selection = values.all ? 'all' : values.quick ? 'quick' : 'default'
  const rounds = positive('--rounds', values.rounds ?? (values.quick ? '2' : '3'))
  const seconds = positive('--seconds', values.seconds ?? (values.quick ? '0.8' : '1.5'))
  const only = knownOnly()
  const peers = values.peer.map(parsePeer)
  const wanted = (section: Section, quickToo = false) =>
    only === undefined ? selection !== 'quick' || quickToo : only.includes(section)
  const goals: GoalReport[] = []
  const errors: string[] = []
  const leftOut: string[] = []
  /** A part that fails is told of and does not take the others with it. */
  const part = async <T>(section: Section, run: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await run()
    } catch (error) {
      errors.push(`${section}: ${(error as Error).message}`)
      return undefined
    }
  }

  const yardsticks = await yardsticksOrWhyNot(leftOut)
  const rows = selectRows(
    selection,
    only,
    peers.map(({ name }) => name),
    // They would be in the profile.
    !values.profile,
  )
  const endpoints = await startEndpoints(8, yardsticks)
  const shared = { rounds, seconds, endpoints, progress, selection, peers }

  const folder = values.profile ? await mkdtemp(join(tmpdir(), 'signalbox-profile-')) : undefined
  const matrix = await runMatrix({ ...shared, rows, yardsticks, profiles: folder })
  errors.push(...matrix.errors)
  goals.push(...judgeRows(matrix.figures, 'own'))
  const profiles = folder === undefined ? undefined : await readProfiles(folder)
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })

  const scrape = wanted('scrape', true)
    ? await part('scrape', () => measureScraping(yardsticks, Math.max(3, seconds)))
    : undefined
  if (scrape !== undefined) goals.push(scrapeGoal(scrape))

  let envoy: EnvoyResult | undefined
  let threads: BenchReport['threads']
  let memory: BenchReport['memory']
  if (yardsticks === undefined) {
    for (const section of ['envoy', 'threads', 'memory'] as const)
      if (wanted(section)) leftOut.push(`${section}: needs the Go load generators`)
  } else {
    if (wanted('envoy')) {
      envoy = await part('envoy', async () => {
        const { path: binary } = await resolveEnvoy({ onProgress: progress })
        return runBehindEnvoy({ ...shared, binary, yardsticks })
      })
      errors.push(...(envoy?.errors ?? []))
      for (const { title, ratio, limit } of envoy?.latencies ?? [])
        if (limit !== undefined)
          goals.push(atMost(4, `${title} behind Envoy, look and close: p50 to that without ext_proc`, ratio.p50, limit))
    }
    if (wanted('threads')) {
      const found = await part('threads', () => measureThreads({ ...shared, yardsticks }))
      errors.push(...(found?.errors ?? []))
      threads = found?.results
      for (const { title, cost } of threads ?? [])
        goals.push(atMost(4, `${title}: CPU per request, two threads to one`, cost, 1.1))
    }
    if (wanted('memory')) {
      const contenders = ['own', ...(selection === 'all' ? ['node', 'grpc-js', 'connect-node'] : []), 'refserver-parse']
      memory = await part('memory', () => measureMemory({ ...shared, contenders, yardsticks }))
      goals.push(...memoryGoals(memory ?? []))
    }
  }
  const picks = wanted('picks') && isThere('threads') ? await part('picks', measurePicks) : undefined
  if (picks !== undefined) goals.push(atLeast(4, 'In-process picks per second, two threads to one', picks.ratio, 1.8))
  const decisions = wanted('picks') ? await part('picks', measureDecisions) : undefined
  for (const { profile, endpoints, micros } of decisions ?? [])
    if (endpoints === 100)
      goals.push(atMost(5, `Decision among 100 endpoints, prompt of 4 KB, ${profile}: µs`, micros, 20))
  progress('')
  return {
    machine: describeMachine(),
    date: new Date().toISOString(),
    rounds,
    seconds,
    rows: reportRows(rows, matrix.figures),
    ...(scrape === undefined ? {} : { scrape }),
    ...(envoy === undefined ? {} : { envoy }),
    ...(threads === undefined ? {} : { threads }),
    ...(picks === undefined ? {} : { picks }),
    ...(decisions === undefined ? {} : { decisions }),
    ...(memory === undefined ? {} : { memory }),
    ...(profiles === undefined ? {} : { profiles }),
    goals,
    leftOut,
    errors,
  }
}

function print(report: BenchReport): void {
  const { machine, date, rounds, seconds, rows, scrape, envoy, threads, picks, memory, profiles, goals } = report
  console.log(`${machine}; ${date.slice(0, 10)}; ${rounds} rounds of ${seconds} s\n`)
  const parts: string[] = []
  if (rows.length > 0) parts.push(printRows(rows))
  if (scrape !== undefined) parts.push(printScrape(scrape))
  if (envoy !== undefined) parts.push(printEnvoy(envoy))
  if (threads !== undefined) parts.push(printThreads(threads))
  if (picks !== undefined)
    parts.push(
      `In-process picks per second, two threads over one: ${picks.ratio.toFixed(2)} (threads that share nothing: ${picks.machine.toFixed(2)})`,
    )
  if (report.decisions !== undefined) parts.push(printDecisions(report.decisions))
  if (memory !== undefined) parts.push(printMemory(memory))
  if (profiles !== undefined) parts.push(printProfiles(profiles))
  if (goals.length > 0) parts.push(printGoals(goals))
  if (report.leftOut.length > 0) parts.push(report.leftOut.map(what => `LEFT OUT: ${what}`).join('\n'))
  if (report.errors.length > 0) parts.push(report.errors.map(what => `ERROR ${what}`).join('\n'))
  console.log(parts.join('\n\n'))
}

function knownOnly(): readonly string[] | undefined {
  const only = values.only?.split(',')
  const known = new Set<string>([...ROWS.map(row => row.id), ...SECTIONS])
  for (const id of only ?? []) if (!known.has(id)) throw new Error(`--only: there is no row '${id}'; see --help`)
  return only
}

async function yardsticksOrWhyNot(leftOut: string[]): Promise<Yardsticks | undefined> {
  progress('building the Go yardsticks')
  const built = values['no-go'] ? '--no-go was given' : await buildYardsticks(ROOT)
  if (typeof built !== 'string') return built
  leftOut.push(`the Go yardsticks, because ${built}: no ratio to refserver, load from our own generator in TypeScript`)
  return undefined
}

async function measureScraping(yardsticks: Yardsticks | undefined, seconds: number): Promise<ScrapeReport> {
  progress('scraping 100 endpoints')
  const at = await startEndpoints(100, yardsticks)
  return lastJson<ScrapeReport>([
    bench('scrape'),
    '--at',
    at.join(','),
    '--seconds',
    String(Math.max(LEAST_SCRAPE_SECONDS, seconds)),
  ])
}

/** A scrape that is under way when the clock stops counts as done: 1 % of them at 50 ms in 5 s. */
function scrapeGoal({ cores, done, failed }: ScrapeReport): GoalReport {
  const goal = atMost(5, 'Watching 100 endpoints at 50 ms, none lost: cores', cores, 0.15)
  return { ...goal, met: goal.met && done >= 0.99 && failed === 0 }
}

async function measurePicks(): Promise<Picks> {
  progress('picks on two threads')
  return lastJson<Picks>([bench('threads')])
}

function measureDecisions(): Promise<readonly DecisionCost[]> {
  progress('whole decisions')
  return lastJson<readonly DecisionCost[]>([bench('pick'), '--decisions'])
}

/** What a benchmark's last line says. */
async function lastJson<T>(args: readonly string[]): Promise<T> {
  const lines = (await output(process.execPath, args)).trim().split('\n')
  return JSON.parse(lines.at(-1)!) as T
}

function isThere(name: string): boolean {
  return existsSync(bench(name))
}

function bench(name: string): string {
  return join(BENCHES, `${name}.bench.ts`)
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

/** As the second column of the help. */
function wrapped(words: readonly string[]): string {
  const lines = ['']
  for (const word of words) {
    if (lines.at(-1)!.length + word.length > 100) lines.push('')
    lines.push(`${lines.pop()} ${word}`)
  }
  return lines.map(line => `                    ${line}`).join('\n')
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
