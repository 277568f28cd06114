/** The figure of docs/placement.md: goodput by workload, a dot a contender. Readable on light and dark pages. */
import type { ContenderKind } from './contender.ts'
import type { Row } from './report.ts'

const WIDTH = 900
const LEFT = 260
const RIGHT = 40
const TOP = 96
const ROW = 34
const COLOURS = ['#8c959f', '#bf8700', '#1a7f37', '#cf222e', '#54aeff', '#0969da']

export function plotGoodput(rows: readonly Row[], contenders: readonly ContenderKind[]): string {
  const bottom = TOP + rows.length * ROW
  const x = (share: number) => (LEFT + share * (WIDTH - LEFT - RIGHT)).toFixed(1)
  const parts = [
    text(20, 32, 'Requests whose first token comes in time, %', 'title'),
    ...contenders.map(({ title }, c) => legend(20 + c * 146, title, c)),
    ...[0, 0.2, 0.4, 0.6, 0.8, 1].map(
      share =>
        `<line class="grid" x1="${x(share)}" x2="${x(share)}" y1="${TOP - 6}" y2="${bottom}"/>` +
        `<text class="soft" x="${x(share)}" y="${TOP - 12}" text-anchor="middle">${share * 100}</text>`,
    ),
    ...rows.flatMap(({ workload, cells }, r) => {
      const y = TOP + r * ROW + ROW / 2
      return [
        `<text x="${LEFT - 14}" y="${y + 4}" text-anchor="end">${workload.title}</text>`,
        ...cells.map(({ good }, c) => dot(x(good), y, c, c === contenders.length - 1 ? 7 : 5)),
      ]
    }),
  ]
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${bottom + 20}" viewBox="0 0 ${WIDTH} ${bottom + 20}" role="img">
<title>Goodput of placement by workload and contender</title>
<style>text { font: 13px system-ui, sans-serif; fill: #1f2328 } .page { fill: #ffffff } .title { font-size: 16px; font-weight: 600 }
.soft { fill: #656d76; font-size: 12px } .grid { stroke: #d8dee4 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .page { fill: #0d1117 } .soft { fill: #8b949e } .grid { stroke: #30363d } }</style>
<rect class="page" width="${WIDTH}" height="${bottom + 20}" rx="8"/>
${parts.join('\n')}
</svg>
`
}

function legend(x: number, title: string, series: number): string {
  return `${dot(String(x + 5), 56, series, 5)}${text(x + 15, 60, title, 'soft')}`
}

function dot(x: string, y: number, series: number, radius: number): string {
  return `<circle cx="${x}" cy="${y}" r="${radius}" fill="${COLOURS[series]}" fill-opacity="0.85"/>`
}

function text(x: number, y: number, content: string, classes: string): string {
  return `<text class="${classes}" x="${x}" y="${y}">${content}</text>`
}
