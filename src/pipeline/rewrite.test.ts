import { describe, expect, it } from '@jest/globals'
import { rewriteModel } from './rewrite.ts'
import { entry, Play, plan, pool, rule, target } from '../../test/support/pipeline-play.ts'

const rewrites = [
  {
    model: 'sql',
    targets: [
      { model: 'sql-v1', weight: 1 },
      { model: 'sql-v2', weight: 3 },
    ],
  },
  { targets: [{ model: 'base', weight: 1 }] },
]

describe('rewriteModel', () => {
  it('prefers the exact rule, wherever it stands', () => {
    expect(rewriteModel(rewrites, 'sql', 0)).toBe('sql-v1')
    expect(rewriteModel(rewrites.toReversed(), 'sql', 0)).toBe('sql-v1')
    expect(rewriteModel(rewrites, 'SQL', 0)).toBe('base')
    expect(rewriteModel(rewrites, undefined, 0)).toBe('base')
    expect(rewriteModel([rewrites[0]!], 'other', 0)).toBeUndefined()
    expect(rewriteModel([rewrites[0]!], undefined, 0)).toBeUndefined()
    expect(rewriteModel([], 'sql', 0)).toBeUndefined()
  })

  it('chooses by weight', () => {
    expect([0, 0.2499, 0.25, 0.9999].map(random => rewriteModel(rewrites, 'sql', random))).toEqual([
      'sql-v1',
      'sql-v1',
      'sql-v2',
      'sql-v2',
    ])
    const zeros = [{ targets: [{ model: 'never', weight: 0 }] }, { targets: [] }]
    for (const rule of zeros) expect(rewriteModel([rule], 'x', 0)).toBeUndefined()
  })
})

describe.each(['look', 'duplex'] as const)('a rewritten body (%s)', mode => {
  const play = new Play(
    plan([entry([rule('r', { targets: [target('t', { pool: 'p' })] })])], [pool('p', ['10.0.0.1:8000'], { rewrites })]),
  )

  it.each([
    ['a model', '{"x":1,"model":"sql"}', '{"x":1,"model":"sql-v1"}', 'sql'],
    ['an escaped model', '{"model":"s\\u0071l","x":1}', '{"model":"sql-v1","x":1}', 'sql'],
    ['a number', '{"model":42 }', '{"model":"base" }', '42'],
    ['no model', ' {"x":1}', ' {"model":"base","x":1}', undefined],
    ['nothing at all', '{ }\n', '{"model":"base" }\n', undefined],
    ['null', '{"model": null}', '{"model": "base"}', undefined],
    ['an empty name', '{"model":"" ,"x":{}}', '{"model":"base" ,"x":{}}', undefined],
    ['a byte order mark', '\uFEFF{"x":1}', '\uFEFF{"model":"base","x":1}', undefined],
  ])('with %s', (_name, body, expected, model) => {
    for (const chunk of [0, 1, 2, 5]) {
      const length = Buffer.byteLength(body)
      const reply = play.send({ mode, body, chunk, headers: { 'content-length': String(length) } })
      expect(reply.body).toBe(expected)
      expect(reply.set['content-length']).toBe(String(Buffer.byteLength(expected)))
      expect(reply.record['model']).toBe(model)
      expect(reply.record['served_model']).toBe(expected.includes('sql-v1') ? 'sql-v1' : 'base')
    }
  })

  it.each(['{"model":{"a":1}}', '[1]', '"sql"'])('has no place for a model: %s', body => {
    const reply = play.send({ mode, body, headers: { 'content-length': String(body.length) } })
    expect([reply.to, reply.body, reply.set['content-length'], reply.record['served_model']]).toEqual([
      't',
      body,
      undefined,
      undefined,
    ])
  })

  it('keeps the rest of a form', () => {
    const form = (model: string) =>
      `--b\r\ncontent-disposition: form-data; name=model\r\n\r\n${model}\r\n--b\r\ncontent-disposition: form-data; name=file; filename=f\r\n\r\nRIFF\r\n--b--\r\n`
    const headers = { 'content-type': 'multipart/form-data; boundary=b' }
    const reply = play.send({ mode, headers, body: form('sql') })
    expect(reply.body).toBe(form('sql-v1'))
  })
})
