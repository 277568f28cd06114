import { describe, expect, it } from '@jest/globals'
import { parseYaml } from './yaml-documents.ts'

const problemsOf = (text: string) =>
  parseYaml(text, 'f.yaml').problems.map(({ code, position }) => `${position?.line}:${position?.column} ${code}`)

describe('parseYaml', () => {
  it('finds fields again, in every document', () => {
    const text = 'a: 1\n---\nlist:\n- {x: 1}\n- y:\n    z: 2\nanchor: &a {deep: 1}\nalias: *a\n'
    const { documents, problems } = parseYaml(text, 'f.yaml')
    expect(problems).toEqual([])
    expect(documents.map(document => document.value)).toEqual([
      { a: 1 },
      { list: [{ x: 1 }, { y: { z: 2 } }], anchor: { deep: 1 }, alias: { deep: 1 } },
    ])
    const second = documents[1]!
    expect(second.locate(['list', 1, 'y', 'z'])).toEqual({ file: 'f.yaml', line: 6, column: 8 })
    expect(second.locate(['list', 0, 'x'])).toEqual({ file: 'f.yaml', line: 4, column: 7 })
    expect(second.locate(['list'])).toEqual({ file: 'f.yaml', line: 3, column: 1 })
    // Missing: the deepest part that is there.
    expect(second.locate(['list', 1, 'missing', 'more'])).toEqual({ file: 'f.yaml', line: 5, column: 3 })
    expect(second.locate(['alias', 'deep'])).toEqual({ file: 'f.yaml', line: 7, column: 19 })
  })

  it('reads JSON', () => {
    const { documents, problems } = parseYaml('{"a": {"b": [1, true, null, "x"]}}', 'f.json')
    expect(problems).toEqual([])
    expect(documents[0]!.value).toEqual({ a: { b: [1, true, null, 'x'] } })
  })

  it('reports every syntax error with its place', () => {
    expect(problemsOf('a: 1\na: 2\nb: 3\nb: 4\n')).toEqual(['2:1 duplicate-key', '4:1 duplicate-key'])
    expect(problemsOf('{a: {b: 1, "b": 2}, b: 1}')).toEqual(['1:12 duplicate-key'])
    // Comparing each with each would take minutes.
    const many = Array.from({ length: 70_000 }, (_, i) => `k${i}: 1\n`).join('')
    expect(problemsOf(`${many}k1: 2\n`)).toEqual(['70001:1 duplicate-key'])
    expect(problemsOf('a:\n\tb: 1\n')[0]).toMatch(/^2:1 yaml/)
    expect(problemsOf('a: "open\n')).toHaveLength(1)
    expect(problemsOf('a: 1\n---\nb: [1\n---\nc: 1\nc: 2\n').length).toBeGreaterThanOrEqual(2)
    expect(problemsOf('a: *nowhere\n')).toEqual(['1:4 yaml'])
    expect(problemsOf('a: !custom 1\n')).toEqual(['1:4 yaml'])
  })

  it('refuses an alias bomb', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    for (let i = 1; i < 10; i++)
      lines.push(`a${i}: &a${i} [${Array.from({ length: 9 }, () => `*a${i - 1}`).join(', ')}]`)
    const { documents, problems } = parseYaml(lines.join('\n'), 'bomb.yaml')
    expect(documents).toEqual([])
    expect(problems).toHaveLength(1)
    expect(problems[0]!.message).toMatch(/alias/)
  })

  it('bounds what it reports of a file that is no YAML', () => {
    const { problems } = parseYaml('a: 1\n'.repeat(500), 'f.yaml')
    expect(problems.length).toBeLessThan(60)
    expect(problems.at(-1)!.message).toMatch(/more syntax errors/)
  })
})
