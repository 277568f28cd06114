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

  it('goes by what the client was told of its endpoint', () => {
    const token = (name: string) => ({ headers: { 'x-session-token': Buffer.from(name).toString('base64') } })
    const made = new ScorerPlay('session-affinity-scorer', {}, [{}, {}, {}])
    expect(made.scores(token('default/10.0.0.1:8000'))).toEqual([0, 1, 0])
    made.pick(2)
    expect(made.scores(token('default/10.0.0.1:8000'))).toEqual([0, 1, 0])
    expect(made.scores(token('default/10.9.9.9:8000'))).toEqual([0, 0, 0])
    expect(made.scores(session('s'))).toEqual([0, 0, 0])
  })

  it.each([{ encodedEndpointHeaderConfig: { header: 'X-Mine' } }, { headerName: 'x-mine' }])(
    'by a header of another name: %j',
    parameters => {
      const made = new ScorerPlay('session-affinity-scorer', parameters, [{}, {}])
      const value = Buffer.from('default/10.0.0.1:8000').toString('base64')
      expect(made.scores({ headers: { 'x-mine': value } })).toEqual([0, 1])
      expect(made.scores({ headers: { 'x-session-token': value } })).toEqual([0, 0])
    },
  )

  it('takes nothing said for the defaults', () => {
    const made = play({ sessionIdConfig: { sources: [], evictionTtlSeconds: 0 } })
    made.scores(session('s'))
    made.pick(0)
    expect(made.scores({ ...session('s'), nowMs: 200_000 })).toEqual([1, 0, 0])
    expect(() => play({ strategy: 'cookie' })).toThrow(/encoded_endpoint_header.*session_id/)
  })
})
