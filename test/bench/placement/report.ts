/** Tables of the placement benchmark: means over its seeds. */
import type { ContenderKind } from './contender.ts'
import type { Setup } from './setups.ts'
import type { Outcome } from './simulation.ts'
import type { Workload } from './workloads.ts'

/** A contender, as far as a table names it. */
type Contestant = Pick<ContenderKind, 'name' | 'title'>

/** Mean of a workload's runs under one contender. */
interface Cell {
  readonly good: number
  readonly hits: number
  readonly tpot: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
}

export interface Row {
  readonly workload: Workload
  /** In the order of the contenders. */
  readonly cells: readonly Cell[]
}

export function rowsOf(
  workloads: readonly Workload[],
  contenders: readonly Contestant[],
  outcomes: readonly Outcome[],
): Row[] {
  return workloads.map(workload => ({
    workload,
    cells: contenders.map(({ name }) => {
      const runs = outcomes.filter(run => run.workload === workload.name && run.contender === name)
      const mean = (of: (run: Outcome) => number) => runs.reduce((sum, run) => sum + of(run), 0) / runs.length
      return {
        good: mean(({ good }) => good),
        hits: mean(({ hits }) => hits),
        tpot: mean(({ tpot }) => tpot),
        p50: mean(({ ttft }) => ttft.p50),
        p90: mean(({ ttft }) => ttft.p90),
        p99: mean(({ ttft }) => ttft.p99),
      }
    }),
  }))
}

/** Mean of the rows' goodput, by contender. */
function meanGood(rows: readonly Row[]): number[] {
  return rows[0]!.cells.map((_, c) => rows.reduce((sum, { cells }) => sum + cells[c]!.good, 0) / rows.length)
}

export function goodputTable(rows: readonly Row[], contenders: readonly Contestant[]): string {
  const lines = rows.map(({ workload, cells }) => {
    const best = Math.max(...cells.map(({ good }) => good))
    return [workload.title, ...cells.map(({ good }) => (good === best ? `**${percent(good)}**` : percent(good)))]
  })
  return table(
    ['good %', ...contenders.map(({ title }) => title)],
    [...lines, ['mean', ...meanGood(rows).map(percent)]],
  )
}

/** What issue 5 holds the last contender against, in points of goodput: at least 15 above `yardstick`, at most 3 behind the best of `others`. */
export function margins(
  rows: readonly Row[],
  contenders: readonly Contestant[],
  yardstick: Contestant,
  others: readonly Contestant[],
): { readonly above: number; readonly behind: number; readonly behindOn: string } {
  const at = ({ name }: Contestant) => contenders.findIndex(each => each.name === name)
  const means = meanGood(rows)
  const gaps = rows.map(({ workload, cells }) => ({
    behind: 100 * (Math.max(...others.map(each => cells[at(each)]!.good)) - cells.at(-1)!.good),
    behindOn: workload.title,
  }))
  return {
    above: 100 * (means.at(-1)! - means[at(yardstick)]!),
    ...gaps.reduce((most, gap) => (gap.behind > most.behind ? gap : most)),
  }
}

/** A line for each workload of each setup, and one for its mean. */
export function holdOutTable(
  setups: readonly { readonly setup: Setup; readonly rows: readonly Row[] }[],
  contenders: readonly Contestant[],
): string {
  const lines = setups.flatMap(({ setup, rows }) => [
    ...rows.map(({ workload, cells }, r) => [
      r === 0 ? setup.title : '',
      workload.title,
      ...cells.map(({ good }) => percent(good)),
    ]),
    ['', '**mean**', ...meanGood(rows).map(good => `**${percent(good)}**`)],
  ])
  return table(['engines', 'good %', ...contenders.map(({ title }) => title)], lines)
}

/** Everything, a line for each workload and contender. */
export function detailTable(rows: readonly Row[], contenders: readonly Contestant[]): string {
  const lines = rows.flatMap(({ workload, cells }) =>
    cells.map(({ good, p50, p90, p99, tpot, hits }, c) => [
      c === 0 ? workload.title : '',
      contenders[c]!.title,
      percent(good),
      millis(p50),
      millis(p90),
      millis(p99),
      tpot.toFixed(1),
      percent(hits),
    ]),
  )
  return table(['workload', 'contender', 'good %', 'TTFT p50 ms', 'p90', 'p99', 'TPOT ms', 'prefix hits %'], lines)
}

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'))
  return [head, rule, ...lines].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

function percent(share: number): string {
  return (share * 100).toFixed(1)
}

function millis(value: number): string {
  return Number.isFinite(value) ? value.toFixed(0) : 'failed'
}
