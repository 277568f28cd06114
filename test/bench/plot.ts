/**
 * The figure of docs/benchmarks.md: each exchange a line of dots on a logarithmic scale, 1 = the Go server; below it the latency behind
 * Envoy. Plain SVG with its own background, so that it can be read on light and dark pages.
 */
import type { Latency } from './behind-envoy.ts'
import type { BenchReport, RowReport } from './report.ts'

const WIDTH = 960
const LEFT = 350
const RIGHT = 140
const ROW = 26
const PLOT = WIDTH - LEFT - RIGHT

/** Contenders in the order of the legend; peers take the last colour. */
const SERIES: readonly (readonly [contender: string, label: string])[] = [
  ['own', 'Signalbox'],
  ['node', 'Signalbox on node:http2'],
  ['grpc-js', 'grpc-js'],
  ['connect-node', 'connect-node'],
  ['refserver', 'refserver (Go)'],
  ['refserver-parse', 'refserver -parse'],
]

const STYLE = `
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
.page { fill: #ffffff } .title { font-size: 16px; font-weight: 600 } .soft { fill: #656d76; font-size: 12px }
.strong { font-weight: 600 } .grid { stroke: #d8dee4 } .one { stroke: #656d76; stroke-width: 1.5 }
.stem { stroke: #0969da; stroke-width: 3; opacity: .3 } .goal { stroke: #bc4c00; stroke-width: 2 } .goal-text { fill: #bc4c00 }
.s0 { fill: #0969da; stroke: #0969da } .s1 { fill: #54aeff; stroke: #54aeff } .s2 { fill: #8250df; stroke: #8250df }
.s3 { fill: #bf3989; stroke: #bf3989 } .s4 { fill: #6e7781; stroke: #6e7781 } .s5 { fill: #24292f; stroke: #24292f }
.s6 { fill: #1a7f37; stroke: #1a7f37 } .hollow { fill: #ffffff; stroke-width: 2 }`

const DARK_STYLE = `
text { fill: #e6edf3 } .page { fill: #0d1117 } .soft { fill: #8b949e } .grid { stroke: #30363d } .one { stroke: #8b949e }
.stem { stroke: #58a6ff } .goal { stroke: #f0883e } .goal-text { fill: #f0883e } .s0 { fill: #58a6ff; stroke: #58a6ff }
.s1 { fill: #1f6feb; stroke: #1f6feb } .s2 { fill: #bc8cff; stroke: #bc8cff } .s3 { fill: #f778ba; stroke: #f778ba }
.s4 { fill: #8b949e; stroke: #8b949e } .s5 { fill: #f0f6fc; stroke: #f0f6fc } .s6 { fill: #3fb950; stroke: #3fb950 }
.hollow { fill: #0d1117 }`

/** A vertical stretch of the drawing. */
interface Panel {
  readonly height: number
  readonly svg: string
}

/** The whole drawing. Rows without a base in the run are left out. */
export function plotReport(report: BenchReport): string {
  const panels: Panel[] = [costPanel(report)]
  const latencies = report.envoy?.latencies ?? []
  if (latencies.length > 0) panels.push(latencyPanel(latencies))
  let y = 0
  const parts: string[] = []
  for (const { height, svg } of panels) {
    parts.push(`<g transform="translate(0 ${y})">${svg}</g>`)
    y += height
  }
  const footer = `${report.machine}; ${report.date.slice(0, 10)}; medians of ${report.rounds} rounds`
  parts.push(text(20, y + 14, footer, 'soft'))
  const height = y + 30
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>What an exchange costs ext_proc servers</title>
<style>${STYLE}
@media (prefers-color-scheme: dark) {${DARK_STYLE}
}</style>
<rect class="page" width="${WIDTH}" height="${height}" rx="8"/>
${parts.join('\n')}
</svg>
`
}

function costPanel({ rows, goals }: BenchReport): Panel {
  const shown = rows.filter(({ costs }) => costs.some(({ ratio }) => ratio !== undefined))
  const ratios = shown.flatMap(({ costs }) => costs.flatMap(({ ratio }) => ratio ?? []))
  const x = logScale(Math.min(0.03, ...ratios), Math.max(2, ...ratios))
  const names = new Set(shown.flatMap(({ costs }) => costs.map(({ contender }) => contender)))
  const legend = legendLine([...names].toSorted((a, b) => seriesOf(a) - seriesOf(b)))
  const top = 122
  const bottom = top + shown.length * ROW
  const parts = [
    text(20, 32, 'Server CPU per exchange, as a multiple of the Go server', 'title'),
    text(
      20,
      52,
      'Logarithmic, less is better. 1 = refserver, from 4 KB on refserver -parse; look and close: their full duplex of that size.',
      'soft',
    ),
    legend,
    ...x.ticks.map(at => gridLine(x.of(at), top - 8, bottom, at, top - 14)),
    ...shown.map((row, i) => costRow(row, top + i * ROW + ROW / 2, x.of, goalOf(row))),
  ]
  return { height: bottom + 34, svg: parts.join('\n') }

  /** The strictest goal for the row's ratio to its base. */
  function goalOf(row: RowReport): number | undefined {
    const limits = goals.filter(goal => goal.row === row.id && goal.isToBase === true).map(({ limit }) => limit)
    return limits.length === 0 ? undefined : Math.min(...limits)
  }
}

function costRow(row: RowReport, y: number, x: (ratio: number) => number, goal: number | undefined): string {
  const parts = [text(LEFT - 14, y + 4, row.title, '', 'end')]
  const ours = row.costs.find(({ contender }) => contender === 'own')
  if (ours?.ratio !== undefined) {
    parts.push(`<line class="stem" x1="${x(ours.ratio)}" x2="${x(1)}" y1="${y}" y2="${y}"/>`)
    parts.push(text(WIDTH - 16, y + 4, `${times(ours.ratio)} · ${micros(ours.micros)}`, 'strong', 'end'))
  }
  // Ours on top.
  for (const { contender, ratio } of row.costs.toReversed()) {
    if (ratio !== undefined) parts.push(dot(x(ratio), y, seriesOf(contender), contender === 'own' ? 6 : 4.5))
  }
  if (goal !== undefined) parts.push(goalMark(x(goal), y))
  return parts.join('')
}

function latencyPanel(latencies: readonly Latency[]): Panel {
  const ratios = latencies.flatMap(({ ratio }) => [ratio.p50, ratio.p99])
  const x = logScale(Math.min(0.8, ...ratios), Math.max(2.5, ...ratios))
  const top = 96
  const bottom = top + latencies.length * ROW
  const parts = [
    text(20, 32, 'Latency behind Envoy, as a multiple of the same request without ext_proc', 'title'),
    text(20, 52, 'One connection at a time, look and close, model first. Filled: p50, hollow: p99.', 'soft'),
    ...x.ticks.map(at => gridLine(x.of(at), top - 8, bottom, at, top - 14)),
    ...latencies.map(({ title, ratio, limit }, i) => {
      const y = top + i * ROW + ROW / 2
      return [
        text(LEFT - 14, y + 4, title, '', 'end'),
        `<line class="stem" x1="${x.of(1)}" x2="${x.of(ratio.p50)}" y1="${y}" y2="${y}"/>`,
        dot(x.of(ratio.p99), y, 0, 4.5, 'hollow'),
        dot(x.of(ratio.p50), y, 0, 6),
        limit === undefined ? '' : goalMark(x.of(limit), y),
        text(WIDTH - 16, y + 4, `${times(ratio.p50)} · ${times(ratio.p99)}`, 'strong', 'end'),
      ].join('')
    }),
  ]
  return { height: bottom + 34, svg: parts.join('\n') }
}

interface Scale {
  readonly of: (value: number) => number
  readonly ticks: readonly number[]
}

function logScale(from: number, to: number): Scale {
  const low = Math.log(from * 0.9)
  const high = Math.log(to * 1.1)
  const ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10, 20, 50]
  return {
    of: value => Math.round((LEFT + ((Math.log(value) - low) / (high - low)) * PLOT) * 10) / 10,
    ticks: ticks.filter(at => at >= from * 0.9 && at <= to * 1.1 && (at !== 1.5 || to / from < 10)),
  }
}

function legendLine(names: readonly string[]): string {
  let x = 20
  const parts: string[] = []
  for (const name of names) {
    const label = SERIES.find(([contender]) => contender === name)?.[1] ?? name
    parts.push(dot(x + 5, 73, seriesOf(name), 5), text(x + 15, 77, label, 'soft'))
    // The width of a text cannot be asked for; this is generous.
    x += 32 + label.length * 6.6
  }
  parts.push(goalMark(x + 5, 73), text(x + 13, 77, 'goal', 'soft goal-text'))
  return parts.join('')
}

function seriesOf(contender: string): number {
  const at = SERIES.findIndex(([name]) => name === contender)
  return at < 0 ? SERIES.length : at
}

function gridLine(x: number, top: number, bottom: number, value: number, labelY: number): string {
  const line = `<line class="${value === 1 ? 'one' : 'grid'}" x1="${x}" x2="${x}" y1="${top}" y2="${bottom}"/>`
  return `${line}${text(x, labelY, String(value), 'soft', 'middle')}`
}

function goalMark(x: number, y: number): string {
  return `<line class="goal" x1="${x}" x2="${x}" y1="${y - 8}" y2="${y + 8}"/>`
}

function dot(x: number, y: number, series: number, radius: number, more = ''): string {
  return `<circle class="s${series}${more === '' ? '' : ` ${more}`}" cx="${x}" cy="${y}" r="${radius}"/>`
}

function text(
  x: number,
  y: number,
  content: string,
  classes: string,
  anchor: 'start' | 'middle' | 'end' = 'start',
): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  const attributes = `${classes === '' ? '' : ` class="${classes}"`}${anchor === 'start' ? '' : ` text-anchor="${anchor}"`}`
  return `<text x="${x}" y="${y}"${attributes}>${escaped}</text>`
}

function times(ratio: number): string {
  return `${ratio.toFixed(ratio < 0.1 ? 3 : 2)} ×`
}

function micros(value: number): string {
  if (value >= 1000) return `${(value / 1000).toFixed(1)} ms`
  return `${value.toFixed(value >= 100 ? 0 : 1)} µs`
}
