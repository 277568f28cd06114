import { describe, expect, it } from '@jest/globals'
import { parseModelList } from './model-list.ts'

const parse = (value: unknown) => parseModelList(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))

describe('parseModelList', () => {
  it('reads base models and adapters', () => {
    const data = [
      { id: 'llama', object: 'model', parent: null, root: 'llama' },
      { id: 'sql', parent: 'llama' },
    ]
    expect(parse({ object: 'list', data })).toEqual([{ id: 'llama' }, { id: 'sql', parent: 'llama' }])
  })

  it('skips what has no usable id, and parents that mean nothing', () => {
    const data = [
      null,
      5,
      {},
      { id: '' },
      { id: 7 },
      { id: 'x'.repeat(600) },
      { id: 'a', parent: 'a' },
      { id: 'b', parent: 3 },
    ]
    expect(parse({ data })).toEqual([{ id: 'a' }, { id: 'b' }])
  })

  it('bounds the number of models', () => {
    const data = Array.from({ length: 10_500 }, (_, i) => ({ id: `m${i}` }))
    expect(parse({ data })).toHaveLength(10_000)
  })

  it.each(['', 'null', '[]', '{"data":{}}', '{"data"', 'plain text', '{}'])('refuses %j', text => {
    expect(parse(text)).toBeUndefined()
  })
})
