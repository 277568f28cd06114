/** What a run found, as data (`--json`) and as lines for people. */
import type { EnvoyResult } from './behind-envoy.ts'
import type { ContenderName } from './contenders.ts'
import type { ProfileGroup } from './cpu-profile.ts'
import type { Figures, GoalReport } from './goals.ts'
import { MEMORY_STAGES, type MemoryResult } from './memory.ts'
import type { Measured, Row } from './rows.ts'
import { median, medianRatio } from './statistics.ts'
import type { ThreadsResult } from './threads.ts'

/** Everything that a run found; parts that it did not measure are absent. */
/** In-process picks per second, two threads over one; `machine`: the same of threads that share nothing. */
export interface Picks {
  readonly ratio: number
  readonly machine: number
}

/** A whole decision in process: prompt of 4 KB hashed and matched, endpoints ranked, the choice recorded. */
export interface DecisionCost {
  readonly profile: string
  readonly endpoints: number
  /** CPU. */
  readonly micros: number
}

export interface BenchReport {
  readonly machine: string
  /** ISO 8601 */
  readonly date: string
  readonly rounds: number
  readonly seconds: number
  readonly rows: readonly RowReport[]
  readonly scrape?: ScrapeReport
  readonly envoy?: EnvoyResult
  readonly threads?: readonly ThreadsResult[]
  readonly picks?: Picks
  readonly decisions?: readonly DecisionCost[]
  readonly memory?: readonly MemoryResult[]
  /** By server. */
  readonly profiles?: Readonly<Record<string, readonly ProfileGroup[]>>
  readonly goals: readonly GoalReport[]
  /** What was not measured, and why. */
  readonly leftOut: readonly string[]
  readonly errors: readonly string[]
}

export interface RowReport {
  readonly id: string
  readonly title: string
  readonly facts: string
  readonly unit: Row['unit']
  readonly base: Row['base']
  readonly costs: readonly Cost[]
}

export interface Cost {
  readonly contender: ContenderName
  /** Median, µs of server CPU per unit. */
  readonly micros: number
  /** All figures, in the order of the rounds. */
  readonly rounds: readonly number[]
  /** Median of the rounds' ratios to the row's base; absent where that was not measured. */
  readonly ratio?: number
}

export interface ScrapeReport {
  readonly cores: number
  /** Share of the scrapes that should have been. */
  readonly done: number
  readonly failed: number
}

export function reportRows(rows: readonly Measured[], figures: Figures): RowReport[] {
  return rows.map(({ row, contenders }) => {
    const under = figures(row.base.row, row.base.contender)
    const costs = contenders.flatMap(contender => {
      const over = figures(row.id, contender)
      if (over === undefined) return []
      const ratio = under === undefined ? {} : { ratio: medianRatio(over, under) }
      return [{ contender, micros: median(over), rounds: over, ...ratio }]
    })
    return { id: row.id, title: row.title, facts: row.facts, unit: row.unit, base: row.base, costs }
  })
}

/** Ratios to each row's base, with the µs in parentheses. */
export function printRows(rows: readonly RowReport[]): string {
  const names = [...new Set(rows.flatMap(({ costs }) => costs.map(({ contender }) => contender)))]
  const head = ['CPU of the server, × the base (µs)', ...names, 'base = 1']
  const lines = rows.map(({ id, title, costs, base }) => [
    title,
    ...names.map(name => {
      const cost = costs.find(({ contender }) => contender === name)
      if (cost === undefined) return ''
      return cost.ratio === undefined
        ? `(${number(cost.micros)})`
        : `${cost.ratio.toFixed(cost.ratio < 0.1 ? 3 : 2)} (${number(cost.micros)})`
    }),
    base.row === id ? base.contender : `${base.contender}, ${base.row}`,
  ])
  return table([head, ...lines])
}

export function printScrape({ cores, done, failed }: ScrapeReport): string {
  return `Scraping 100 endpoints every 50 ms (403 lines each): ${cores.toFixed(3)} core, ${(done * 100).toFixed(1)} % done, ${failed} failed`
}

export function printEnvoy({ costs, latencies, chunkCost }: EnvoyResult): string {
  const costHead = ['Behind Envoy, µs of CPU per request', 'server', 'Envoy', 'both', '× no ext_proc']
  const costLines = costs.map(({ title, contender, envoy, server }) => {
    const none = costs.find(other => other.title === title && other.server === 0)
    return [
      `${title}, ${contender}`,
      server === 0 ? '' : number(server),
      number(envoy),
      number(envoy + server),
      none === undefined ? '' : ((envoy + server) / none.envoy).toFixed(2),
    ]
  })
  const latencyHead = [
    'Latency behind Envoy, look and close, model first',
    'p50 ×',
    'p99 ×',
    'floor p50 ×',
    'p50 µs',
    'without',
    'p99 µs',
    'without',
  ]
  const latencyLines = latencies.map(({ title, ratio, floor, withOurs, without }) => [
    title,
    ratio.p50.toFixed(2),
    ratio.p99.toFixed(2),
    floor.toFixed(2),
    number(withOurs.p50),
    number(without.p50),
    number(withOurs.p99),
    number(without.p99),
  ])
  return [
    table([costHead, ...costLines]),
    '',
    table([latencyHead, ...latencyLines]),
    '',
    `Server CPU per chunk of a streamed response that no rule reads: ${chunkCost.toFixed(2)} µs (none reaches us: what is left is the lower rate of requests)`,
  ].join('\n')
}

export function printThreads(results: readonly ThreadsResult[]): string {
  const head = ['Threads, µs of CPU per request', 'one', 'two', 'two / one', 'requests/s, two / one']
  const lines = results.map(({ title, one, two, cost, rate }) => [
    title,
    number(one),
    number(two),
    cost.toFixed(2),
    rate.toFixed(2),
  ])
  return table([head, ...lines])
}

export function printMemory(results: readonly MemoryResult[]): string {
  const lines = results.map(({ contender, megabytes }) => [contender, ...megabytes.map(String)])
  return table([['Resident memory, MB', ...MEMORY_STAGES], ...lines])
}

export function printProfiles(profiles: Readonly<Record<string, readonly ProfileGroup[]>>): string {
  const percent = (share: number) => `${(share * 100).toFixed(1).padStart(5)} %`
  return Object.entries(profiles)
    .map(([server, groups]) => {
      const lines = groups.flatMap(({ name, share, functions }) => [
        `${percent(share)}  ${name}`,
        ...functions.map(each => `           ${percent(each.share)}  ${each.name}`),
      ])
      return `Where ${server} spends its time:\n${lines.join('\n')}`
    })
    .join('\n\n')
}

export function printGoals(goals: readonly GoalReport[]): string {
  const lines = goals.map(({ issue, text, value, met }) => [
    text,
    value.toPrecision(3),
    met ? 'MET' : 'MISSED',
    `issue ${issue}`,
  ])
  return table([['Goals', 'found', '', ''], ...lines])
}

function number(value: number): string {
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

export function printDecisions(decisions: readonly DecisionCost[]): string {
  const counts = [...new Set(decisions.map(({ endpoints }) => endpoints))]
  const profiles = [...new Set(decisions.map(({ profile }) => profile))]
  const figure = (wanted: string, count: number): string =>
    decisions.find(({ profile, endpoints }) => profile === wanted && endpoints === count)?.micros.toFixed(1) ?? ''
  return [
    `Decision on a prompt of 4 KB, µs of CPU  ${counts.map(count => `${count} endpoints`.padStart(16)).join('')}`,
    ...profiles.map(name => `${name.padEnd(41)}${counts.map(count => figure(name, count).padStart(16)).join('')}`),
  ].join('\n')
}
