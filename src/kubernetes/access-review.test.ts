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
})
