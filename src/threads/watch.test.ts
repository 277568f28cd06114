import { expect, it } from '@jest/globals'
import { createLog } from '../telemetry/log.ts'
import type { Thread } from './thread.ts'
import { createFiguresMemory, Figure, ThreadFigures } from './thread-figures.ts'
import { Watch } from './watch.ts'

/** As much of a thread as is watched. */
class WatchedThread {
  state: Thread['state'] = 'up'
  restarts = 0
  readonly events: string[] = []
  readonly column: number

  constructor(column: number) {
    this.column = column
  }

  setHung(hung: boolean): void {
    if (this.state !== (hung ? 'up' : 'hung')) return
    this.state = hung ? 'hung' : 'up'
    this.events.push(this.state)
  }

  kill(): void {
    this.events.push('killed')
    this.restarts++
    this.state = 'starting'
  }
}

it('a thread whose event loop does not turn is left out, taken back when it does, and replaced when it never does', () => {
  const figures = new ThreadFigures(createFiguresMemory(3))
  const [well, stuck] = [new WatchedThread(1), new WatchedThread(2)] as const
  const watch = new Watch([well, stuck] as unknown as Thread[], figures, createLog('silent'))
  let beats = 0
  const look = (times: number, stuckBeats = false): void => {
    for (let i = 0; i < times; i++) {
      figures.set(1, Figure.BEAT, ++beats)
      if (stuckBeats) figures.set(2, Figure.BEAT, beats)
      watch.look()
    }
  }
  look(3, true)
  look(5)
  expect(stuck.events).toEqual([])
  look(1)
  expect(stuck.events).toEqual(['hung'])
  look(1, true)
  expect(stuck.events).toEqual(['hung', 'up'])
  look(39)
  expect(stuck.events).toEqual(['hung', 'up', 'hung'])
  look(1)
  expect(stuck.events).toEqual(['hung', 'up', 'hung', 'killed'])
  // Its successor is given time to begin, but not for ever.
  look(119)
  expect(stuck.events).toHaveLength(4)
  look(2)
  expect(stuck.events.slice(4)).toEqual(['killed'])
  expect(well.events).toEqual([])
})
