/** What a run found, as lines for people and as data. */
import type { EnvoyResult } from './behind-envoy.ts'
import { type ContenderName } from './contenders.ts'
import type { Row } from './matrix.ts'
import { sampleKey, type Samples } from './run-matrix.ts'
import { median, medianRatio } from './statistics.ts'

export interface RowReport {
  readonly id: string
  readonly title: string
  readonly facts: string
  readonly unit: Row['unit']
  /** Medians, µs of server CPU per unit. */
  readonly micros: Readonly<Partial<Record<ContenderName, number>>>
  /** All figures, in the order of the rounds. */
  readonly rounds: Readonly<Partial<Record<ContenderName, readonly number[]>>>
  /** Ours over refserver (or refserver -parse) in this row. */
  readonly toReference: number | undefined
  readonly goal: GoalReport | undefined
}

export interface GoalReport {
  readonly text: string
  readonly ratio: number
  readonly limit: number
  readonly met: boolean
}

export interface ScrapeReport {
  readonly cores: number
  /** Share of the scrapes that should have been. */
  readonly done: number
  readonly failed: number
}

export function reportRows(rows: readonly Row[], samples: Samples): RowReport[] {
  return rows.map(row => {
    const of = (contender: ContenderName, id = row.id) => samples.get(sampleKey(id, contender))
    const micros: Partial<Record<ContenderName, number>> = {}
    const rounds: Partial<Record<ContenderName, readonly number[]>> = {}
    for (const contender of row.contenders) {
      const figures = of(contender)
      if (figures === undefined) continue
      micros[contender] = median(figures)
      rounds[contender] = figures
    }
    const ours = of(row.contenders[0]!)
    const reference = row.contenders.find(name => name.startsWith('refserver'))
    const referenceFigures = reference === undefined ? undefined : of(reference)
    const goalFigures = row.goal === undefined ? undefined : of(row.goal.contender, row.goal.row)
    let goal: GoalReport | undefined
    if (row.goal !== undefined && ours !== undefined && goalFigures !== undefined) {
      const ratio = medianRatio(ours, goalFigures)
      const than = row.goal.contender === 'ours' ? `our own ${row.goal.row}` : row.goal.contender
      goal = { text: `≤ ${row.goal.ratio} × ${than}`, ratio, limit: row.goal.ratio, met: ratio <= row.goal.ratio }
    }
    const toReference =
      ours === undefined || referenceFigures === undefined ? undefined : medianRatio(ours, referenceFigures)
    return { id: row.id, title: row.title, facts: row.facts, unit: row.unit, micros, rounds, toReference, goal }
  })
}

export function printRows(reports: readonly RowReport[]): string {
  const head = ['µs of server CPU per exchange or chunk', 'ours', 'refserver', 'grpc-js', 'ours/ref', 'goal']
  const lines = reports.map(({ title, micros, toReference, goal }) => [
    title,
    number(micros.ours ?? micros['ours-look'] ?? micros['ours-request-only']),
    micros['refserver-parse'] === undefined
      ? number(micros.refserver)
      : `${number(micros['refserver-parse'])} (-parse)`,
    number(micros['grpc-js']),
    toReference === undefined ? '–' : toReference.toFixed(2),
    goal === undefined ? '' : `${goal.text}: ${goal.ratio.toFixed(2)} ${verdict(goal.met)}`,
  ])
  return table([head, ...lines])
}

export function printScrape({ cores, done, failed }: ScrapeReport): string {
  const met = scrapeGoalMet({ cores, done, failed })
  return `Scraping 100 endpoints every 50 ms (403 lines each): ${cores.toFixed(3)} core, ${(done * 100).toFixed(1)} % done, ${failed} failed; goal ≤ 0.25 core and none lost: ${verdict(met)}`
}

/** A scrape that is under way when the clock stops counts as done: 1 % of them at 50 ms in 5 s. */
export function scrapeGoalMet({ cores, done, failed }: ScrapeReport): boolean {
  return cores <= 0.25 && done >= 0.99 && failed === 0
}

export function printEnvoy({ costs, latencies, chunkCost }: EnvoyResult): string {
  const head = ['behind Envoy, µs of CPU per request', 'server', 'Envoy', 'both']
  const lines = costs.map(({ title, contender, envoy, server }) => [
    `${title}, ${contender}`,
    server === 0 ? '–' : number(server),
    number(envoy),
    number(envoy + server),
  ])
  const ratios = latencies.map(({ title, p50, p99 }) => `${title}: p50 × ${p50.toFixed(2)}, p99 × ${p99.toFixed(2)}`)
  return [
    table([head, ...lines]),
    `Latency with ours over that without ext_proc, one connection: ${ratios.join('; ')}`,
    `Server CPU per chunk of a streamed response that no rule reads: ${chunkCost.toFixed(2)} µs (none reaches us: what is left is the lower rate of requests)`,
  ].join('\n')
}

function verdict(met: boolean): string {
  return met ? 'MET' : 'MISSED'
}

function number(value: number | undefined): string {
  if (value === undefined) return '–'
  return value >= 100 ? value.toFixed(0) : value.toFixed(1)
}

function table(lines: readonly (readonly string[])[]): string {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map(line => line[column]!.length)))
  return lines
    .map(line =>
      line
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
