import { describe, expect, it } from '@jest/globals'
import { AccessReviewer } from './access-review.ts'

type Answers = { token?: unknown; access?: unknown; fails?: boolean }

function reviewer(answers: Answers) {
  const asked: { path: string; object: unknown }[] = []
  let now = 0
  const client = {
    postJson: (path: string, object: unknown) => {
      asked.push({ path, object })
      if (answers.fails === true) return Promise.reject(new Error('away'))
      return Promise.resolve({ status: path.endsWith('tokenreviews') ? answers.token : answers.access })
    },
  }
  return { asked, reviewer: new AccessReviewer(client, () => now), pass: (ms: number) => (now += ms) }
}
const USER = { username: 'u', uid: '1', groups: ['g'], extra: { k: ['v'] } }
const KNOWN = { authenticated: true, user: USER }

describe('AccessReviewer', () => {
  it('asks who it is and whether that one may', async () => {
    const { reviewer: reviews, asked } = reviewer({ token: KNOWN, access: { allowed: true } })
    expect(await reviews.review('Bearer abc', '/metrics')).toBe(200)
    expect(asked).toMatchObject([
      { path: '/apis/authentication.k8s.io/v1/tokenreviews', object: { kind: 'TokenReview', spec: { token: 'abc' } } },
      {
        path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
        object: {
          kind: 'SubjectAccessReview',
          spec: {
            user: 'u',
            uid: '1',
            groups: ['g'],
            extra: { k: ['v'] },
            nonResourceAttributes: { path: '/metrics', verb: 'get' },
          },
        },
      },
    ])
  })

  it.each([
    [undefined, {}, 401],
    ['Basic abc', {}, 401],
    ['Bearer ', {}, 401],
    ['Bearer x', { token: { authenticated: false } }, 401],
    ['Bearer x', { token: undefined }, 401],
    ['Bearer x', { token: KNOWN, access: { allowed: false } }, 403],
    ['Bearer x', { token: KNOWN, access: { allowed: true, denied: true } }, 403],
    ['bearer x', { token: KNOWN, access: { allowed: true } }, 200],
    ['Bearer x', { fails: true }, 503],
    [`Bearer ${'x'.repeat(16_385)}`, { token: KNOWN, access: { allowed: true } }, 401],
  ])('%s and %j: %i', async (authorization, answers: Answers, status) => {
    expect(await reviewer(answers).reviewer.review(authorization, '/metrics')).toBe(status)
  })

  it('remembers answers for a while, but not that nobody answered', async () => {
    const answers: Answers = { token: KNOWN, access: { allowed: true } }
    const { reviewer: reviews, asked, pass } = reviewer(answers)
    await Promise.all([reviews.review('Bearer x', '/metrics'), reviews.review('Bearer x', '/metrics')])
    expect(asked).toHaveLength(2)
    answers.access = { allowed: false }
    expect(await reviews.review('Bearer x', '/metrics')).toBe(200)
    expect(await reviews.review('Bearer x', '/pools')).toBe(403)
    pass(10_001)
    expect(await reviews.review('Bearer x', '/metrics')).toBe(403)
    pass(10_001)
    answers.fails = true
    expect(await reviews.review('Bearer x', '/metrics')).toBe(503)
    answers.fails = false
    expect(await reviews.review('Bearer x', '/metrics')).toBe(403)
  })

  describe('with strangers', () => {
    /** Answers only when told to; the bearer of `prom` may, nobody else is known. */
    function slow() {
      const waiting: (() => void)[] = []
      let now = 0
      let asked = 0
      const client = {
        postJson: (path: string, object: unknown) => {
          asked++
          const known = (object as { spec: { token?: string } }).spec.token === 'prom'
          const status = path.endsWith('tokenreviews') ? (known ? KNOWN : {}) : { allowed: true }
          return new Promise(resolve => waiting.push(() => resolve({ status })))
        },
      }
      const reviews = new AccessReviewer(client, () => now)
      const answer = async () => {
        while (waiting.length > 0) {
          for (const resolve of waiting.splice(0)) resolve()
          await new Promise(resolve => setImmediate(resolve))
        }
      }
      const ask = (name: string) => reviews.review(`Bearer ${name}`, '/metrics')
      return { ask, answer, asked: () => asked, pass: (ms: number) => (now += ms) }
    }
    const strangers = (from: number, count: number) => Array.from({ length: count }, (_, i) => `x${from + i}`)

    it('asks about so many at a time, and of one it knows even then', async () => {
      const { ask, answer, asked, pass } = slow()
      const first = ask('prom')
      await answer()
      expect(await first).toBe(200)
      pass(10_001)
      const before = asked()
      const crowd = strangers(0, 16).map(ask)
      expect(await Promise.all(strangers(16, 1000).map(ask))).toEqual(Array.from({ length: 1000 }, () => 503))
      expect(asked() - before).toBe(16)
      const again = ask('prom')
      expect(asked() - before).toBe(17)
      await answer()
      expect(await again).toBe(200)
      expect(await Promise.all(crowd)).toEqual(Array.from({ length: 16 }, () => 401))
      const later = ask('x500')
      await answer()
      expect(await later).toBe(401)
    })

    it('keeps the answer for one who may, however many may not', async () => {
      const { ask, answer, asked } = slow()
      const first = ask('prom')
      await answer()
      expect(await first).toBe(200)
      for (let from = 0; from < 1100; from += 10) {
        const crowd = strangers(from, 10).map(ask)
        await answer()
        await Promise.all(crowd)
      }
      const before = asked()
      expect(await ask('prom')).toBe(200)
      expect(await ask('x1099')).toBe(401)
      expect(asked()).toBe(before)
      const forgotten = ask('x0')
      expect(asked()).toBe(before + 1)
      await answer()
      expect(await forgotten).toBe(401)
    })
  })
})
