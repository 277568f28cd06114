/** What the figures are held against: the goals of issues 3, 4 and 5, each a ratio of two costs of one run. */
import type { ContenderName } from './contenders.ts'
import { medianRatio } from './statistics.ts'

export interface GoalReport {
  /** The issue that states it. */
  readonly issue: number
  readonly text: string
  readonly value: number
  readonly limit: number
  readonly met: boolean
  /** The row of exchanges that it is about, and whether it is held against that row's base. */
  readonly row?: string
  readonly isToBase?: boolean
}

/** µs of server CPU per unit, one figure a round. */
export type Figures = (row: string, contender: ContenderName) => readonly number[] | undefined

interface RatioGoal {
  readonly issue: number
  readonly text: string
  /** A row of ours. */
  readonly row: string
  /** Compared with; contender `ours` is whichever transport the goal is held against. */
  readonly to: { readonly row: string; readonly contender: ContenderName }
  readonly limit: number
}

const SMALL = { row: 'fds-300', contender: 'refserver' } as const
const LARGE = { row: 'fds-220k', contender: 'refserver-parse' } as const
const OWN_LARGE = { row: 'fds-220k', contender: 'ours' } as const

const GOALS: readonly RatioGoal[] = [
  { issue: 3, text: '300 B, full duplex both ways, to refserver', row: 'fds-300', to: SMALL, limit: 1 },
  { issue: 3, text: '220 KB, full duplex, to refserver -parse', row: 'fds-220k', to: LARGE, limit: 0.8 },
  {
    issue: 3,
    text: '220 KB, look, model first, to our own full duplex',
    row: 'look-220k-first',
    to: OWN_LARGE,
    limit: 0.2,
  },
  {
    issue: 3,
    text: '220 KB, look, model last, to our own full duplex',
    row: 'look-220k-last',
    to: OWN_LARGE,
    limit: 0.5,
  },
  { issue: 4, text: "300 B, full duplex both ways, to refserver's", row: 'fds-300', to: SMALL, limit: 0.3 },
  { issue: 4, text: "300 B, look and close, to refserver's 300 B", row: 'look-300-first', to: SMALL, limit: 0.15 },
  {
    issue: 4,
    text: "220 KB, look and close, model first, to refserver -parse's",
    row: 'look-220k-first',
    to: LARGE,
    limit: 0.05,
  },
  {
    issue: 4,
    text: "220 KB, look and close, model last, to refserver -parse's",
    row: 'look-220k-last',
    to: LARGE,
    limit: 0.12,
  },
  { issue: 4, text: "220 KB, full duplex, to refserver -parse's", row: 'fds-220k', to: LARGE, limit: 0.25 },
  {
    issue: 4,
    text: "SSE chunk, full duplex, to refserver's",
    row: 'sse',
    to: { row: 'sse', contender: 'refserver' },
    limit: 0.4,
  },
  {
    issue: 5,
    text: "SSE chunk, full duplex, usage counted, to refserver's",
    row: 'sse-usage',
    to: { row: 'sse', contender: 'refserver' },
    limit: 0.5,
  },
  {
    issue: 5,
    text: "300 B, full duplex, llm-d's default profile, to refserver",
    row: 'fds-300',
    to: SMALL,
    limit: 0.4,
  },
  {
    issue: 5,
    text: "220 KB, full duplex, llm-d's default profile, to refserver -parse",
    row: 'fds-220k',
    to: LARGE,
    limit: 0.3,
  },
]

/** The goals on costs of exchanges that this run can tell of. `ours`: the transport that is held against them. */
export function judgeRows(figures: Figures, ours: ContenderName): GoalReport[] {
  const reports: GoalReport[] = []
  for (const { issue, text, row, to, limit } of GOALS) {
    const over = figures(row, ours)
    const under = figures(to.row, to.contender === 'ours' ? ours : to.contender)
    if (over === undefined || under === undefined) continue
    reports.push({ ...atMost(issue, text, medianRatio(over, under), limit), row, isToBase: to.contender !== 'ours' })
  }
  return reports
}

export function atMost(issue: number, text: string, value: number, limit: number): GoalReport {
  return { issue, text: `${text} ≤ ${limit}`, value, limit, met: value <= limit }
}

export function atLeast(issue: number, text: string, value: number, limit: number): GoalReport {
  return { issue, text: `${text} ≥ ${limit}`, value, limit, met: value >= limit }
}
