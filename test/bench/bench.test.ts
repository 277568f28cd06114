import { describe, expect, it } from '@jest/globals'
import { parsePeer } from './contenders.ts'
import { groupProfile } from './cpu-profile.ts'
import { judgeRows } from './goals.ts'
import { plotReport } from './plot.ts'
import { printRows, reportRows } from './report.ts'
import { ROWS, SELECTIONS, selectRows } from './rows.ts'

/** µs of three rounds; the machine was busy in the second one. */
const FIGURES: Readonly<Record<string, readonly number[]>> = {
  'fds-300 own': [15, 60, 16],
  'fds-300 refserver': [60, 200, 60],
  'fds-300 epp': [300, 900, 310],
  'look-300-first own': [12, 30, 12],
}
const figures = (row: string, contender: string) => FIGURES[`${row} ${contender}`]
const rows = reportRows(selectRows('all', ['fds-300', 'look-300-first', 'sse'], ['epp'], true), figures)

describe('npm run bench', () => {
  it('has rows with distinct names, each with a base that every selection measures too', () => {
    expect(new Set(ROWS.map(({ id }) => id)).size).toBe(ROWS.length)
    for (const selection of SELECTIONS) {
      const selected = selectRows(selection, undefined, [], true)
      for (const { row } of selected) {
        const base = selected.find(other => other.row.id === row.base.row)
        expect(base?.contenders).toContain(row.base.contender)
      }
    }
  })

  it('measures what a chosen row is compared with, unless it is not asked for; peers play what any server can', () => {
    const chosen = (withBases: boolean) =>
      selectRows('default', ['look-220k-last'], ['epp'], withBases).map(({ row, contenders }) => [
        row.id,
        ...contenders,
      ])
    expect(chosen(true)).toEqual([
      ['fds-220k', 'own', 'refserver-parse'],
      ['look-220k-last', 'own', 'node'],
    ])
    expect(chosen(false)).toEqual([['look-220k-last', 'own', 'node']])
    expect(selectRows('quick', undefined, ['epp'], true)[0]?.contenders).toEqual(['own', 'refserver', 'epp'])
  })

  it('takes peers', () => {
    expect(parsePeer('epp=127.0.0.1:9002,77')).toEqual({ name: 'epp', address: '127.0.0.1:9002', pid: 77 })
    for (const bad of ['epp', 'epp=127.0.0.1:9002', 'epp=9002,77', 'node=127.0.0.1:9002,77'])
      expect(() => parsePeer(bad)).toThrow('--peer')
  })

  it('compares rounds with rounds', () => {
    expect(rows[0]).toMatchObject({ id: 'fds-300', base: { contender: 'refserver' } })
    expect(rows[0]?.costs.map(({ contender, micros, ratio }) => [contender, micros, ratio])).toEqual([
      ['own', 16, 16 / 60],
      ['refserver', 60, 1],
      ['epp', 310, 5],
    ])
    expect(printRows(rows)).toMatch(
      /^300 B, full duplex both ways +0\.27 \(16\.0\) +1\.00 \(60\.0\) +5\.00 \(310\) +refserver$/m,
    )
  })

  it('judges the goals that it has figures for', () => {
    const goals = judgeRows(figures, 'own').map(({ issue, text, met }) => [issue, text, met])
    expect(goals).toEqual([
      [3, '300 B, full duplex both ways, to refserver ≤ 1', true],
      [4, "300 B, full duplex both ways, to refserver's ≤ 0.3", true],
      [4, "300 B, look and close, to refserver's 300 B ≤ 0.15", false],
      [5, "300 B, full duplex, llm-d's default profile, to refserver ≤ 0.4", true],
    ])
  })

  it('draws what it found', () => {
    const svg = plotReport({
      machine: 'a < b & c',
      date: '2026-11-21T00:00:00Z',
      rounds: 3,
      seconds: 1,
      rows,
      goals: judgeRows(figures, 'own'),
      leftOut: [],
      errors: [],
    })
    expect(svg).toContain('a &lt; b &amp; c')
    expect(svg).toContain('300 B, look and close, model first')
    // Not measured.
    expect(svg).not.toContain('SSE')
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })
})

describe('groupProfile', () => {
  it('tells where the time went, without idle time', () => {
    const node = (id: number, functionName: string, url = '') => ({
      id,
      callFrame: { functionName, url, lineNumber: 9 },
    })
    const groups = groupProfile({
      nodes: [
        node(1, '(idle)'),
        node(2, '(garbage collector)'),
        node(3, 'writeBuffer'),
        node(4, 'feed', 'file:///x/src/body/json-scan.ts'),
        node(5, '', 'file:///x/src/grpc/h2/frame-reader.ts'),
        node(6, 'push', 'node:internal/streams/readable'),
      ],
      samples: [1, 2, 3, 4, 4, 5, 6],
      timeDeltas: [1000, 10, 20, 25, 25, 15, 5],
    })
    expect(groups.map(({ name, share }) => [name, share])).toEqual([
      ['json', 0.5],
      ['native', 0.2],
      ['transport', 0.15],
      ['gc', 0.1],
      ['node', 0.05],
    ])
    expect(groups[0]?.functions).toEqual([{ name: 'feed  body/json-scan.ts:10', share: 0.5 }])
    expect(groups[2]?.functions[0]?.name).toBe('(anonymous)  h2/frame-reader.ts:10')
  })
})
