import { describe, expect, it } from '@jest/globals'
import { ScorerPlay } from './testing.ts'

const play = (parameters = {}) =>
  new ScorerPlay('session-affinity-scorer', { strategy: 'session_id', ...parameters }, [{}, {}, {}])
const session = (id: string, header = 'x-session-id') => ({ headers: { [header]: id } })

describe('session-affinity-scorer', () => {
  it('prefers the endpoint that the session went to last', () => {
    const made = play()
    expect(made.scores(session('s'))).toEqual([0, 0, 0])
    made.pick(1)
    expect(made.scores(session('s'))).toEqual([0, 1, 0])
    made.pick(2)
    expect(made.scores(session('s'))).toEqual([0, 0, 1])
    expect(made.scores(session('t'))).toEqual([0, 0, 0])
  })

  it('knows nothing of requests without a session', () => {
    const made = play()
    made.scores()
    made.pick(1)
    expect(made.scores()).toEqual([0, 0, 0])
    expect(made.scores(session(''))).toEqual([0, 0, 0])
  })

  it('takes the first header that is there', () => {
    const made = play({ sources: [{ header: 'X-Chat' }, { header: 'x-user' }] })
    made.scores(session('s', 'x-user'))
    made.pick(0)
    expect(made.scores(session('s', 'x-chat'))).toEqual([1, 0, 0])
    expect(made.scores(session('s'))).toEqual([0, 0, 0])
  })

  it('forgets sessions that were idle', () => {
    const made = play({ evictionTtlSeconds: 10 })
    made.scores(session('s'))
    made.pick(0)
    expect(made.scores({ ...session('s'), nowMs: 10_000 })).toEqual([1, 0, 0])
    expect(made.scores({ ...session('s'), nowMs: 12_000 })).toEqual([0, 0, 0])
  })

  it('tells thousands of sessions apart', () => {
    const made = play()
    for (let i = 0; i < 3000; i++) {
      made.scores(session(`session-${i}`))
      made.pick(i % 3)
    }
    for (let i = 0; i < 3000; i++) expect(made.scores(session(`session-${i}`))[i % 3]).toBe(1)
  })

  it('says what it cannot do', () => {
    expect(() => play({ strategy: 'encoded_endpoint_header' })).toThrow(/only session_id is supported yet/)
  })
})
