/** Runs the matrix: all contenders of all rows in turn, again and again, so that what disturbs the machine disturbs them all. */
import { join } from 'node:path'
import { output } from './child-programs.ts'
import { type Contender, type ContenderName, isOurs, type Peer, startContender } from './contenders.ts'
import type { Figures } from './goals.ts'
import { type Measured, OTHERS_CHECKS, OUR_CHECKS, type Row } from './rows.ts'
import type { Yardsticks } from './yardsticks.ts'

export interface MatrixOptions {
  readonly rows: readonly Measured[]
  readonly rounds: number
  readonly seconds: number
  readonly endpoints: readonly string[]
  readonly yardsticks: Yardsticks | undefined
  readonly peers: readonly Peer[]
  /** Folder for the CPU profiles of our servers. */
  readonly profiles: string | undefined
  readonly progress: (text: string) => void
}

export interface MatrixResult {
  readonly figures: Figures
  /** Exchanges that went wrong, with where. */
  readonly errors: readonly string[]
}

export async function runMatrix(options: MatrixOptions): Promise<MatrixResult> {
  const { rows, rounds, progress } = options
  const contenders = new Map<ContenderName, Contender>()
  const samples = new Map<string, number[]>()
  const errors: string[] = []
  try {
    for (const name of new Set(rows.flatMap(({ contenders }) => contenders))) {
      progress(`starting ${name}`)
      const started = await startContender(name, options)
      if (started !== undefined) contenders.set(name, started)
    }
    // Round 0 warms up and checks: it compares every echoed byte, which costs the generator too much to be measured.
    for (let round = 0; round <= rounds; round++) {
      for (const { row, contenders: names } of rows) {
        for (const name of names) {
          const contender = contenders.get(name)
          if (contender === undefined) continue
          progress(`${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}: ${row.title}, ${name}`)
          const { cost, problems } = await measure(row, contender, options, round === 0)
          for (const problem of problems) errors.push(`${row.title}, ${name}: ${problem}`)
          if (round === 0) continue
          const list = samples.get(`${row.id} ${name}`)
          if (list === undefined) samples.set(`${row.id} ${name}`, [cost])
          else list.push(cost)
        }
      }
    }
    return { figures: (row, contender) => samples.get(`${row} ${contender}`), errors }
  } finally {
    await Promise.all(Array.from(contenders.values(), contender => contender.stop()))
  }
}

interface LoadReport {
  readonly n: number
  readonly errs: number
  readonly server_us_per_req: number
  readonly server_us_per_chunk?: number
}

async function measure(
  row: Row,
  contender: Contender,
  { seconds, yardsticks }: MatrixOptions,
  checking: boolean,
): Promise<{ cost: number; problems: readonly string[] }> {
  const checks = isOurs(contender.name) ? OUR_CHECKS : OTHERS_CHECKS
  const options = [
    '-addr',
    contender.address(row.entry),
    '-pids',
    `server=${contender.pid}`,
    '-json',
    '-distinct',
    '64',
  ]
  // Go has no compiler to warm up; the others are only marks.
  const warmUp = row.warmUp * Math.min(1, seconds / 2) * (isOurs(contender.name) ? 1 : 0.2)
  if (checking) options.push('-n', String(Math.ceil(warmUp)), '-warm', '1')
  else options.push('-d', `${seconds}s`, '-warm', row.unit === 'chunk' ? '16' : '100')
  options.push(...row.load, ...(checking ? checks : []))
  const text =
    yardsticks === undefined
      ? await output(process.execPath, [join(import.meta.dirname, 'ext-proc-load.ts'), ...options, '-c', '4'])
      : await output(yardsticks.extprocload, options)
  const lines = text.trim().split('\n')
  const report = JSON.parse(lines.at(-1)!) as LoadReport
  const problems: string[] = []
  if (report.errs > 0)
    problems.push(`${report.errs} of ${report.n + report.errs} exchanges failed: ${complaint(lines)}`)
  if (report.n === 0) problems.push('no exchange was completed')
  const cost = row.unit === 'chunk' ? (report.server_us_per_chunk ?? Number.NaN) : report.server_us_per_req
  return { cost, problems }
}

function complaint(lines: readonly string[]): string {
  return lines.find(line => line.includes('errors:'))?.trim() ?? 'no reason given'
}
