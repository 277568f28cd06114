import { expect, it } from '@jest/globals'
import { mergeSets } from './merge-sets.ts'
import { readTexts } from './object-set.ts'
import { formatProblem } from './problem.ts'

const pool = (name: string, port: number) =>
  `{"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": {"name": "${name}"},
  "spec": {"selector": {"matchLabels": {"a": "b"}}, "targetPorts": [{"number": ${port}}]}}`
const read = (file: string, ...texts: string[]) => readTexts([{ file, text: texts.join('\n---\n') }])

it('mergeSets keeps both, and of twins the first', () => {
  const merged = mergeSets(read('one', pool('a', 1)), read('two', pool('a', 2), pool('b', 2), pool('c', 0)))
  const ports = merged.items.map(item =>
    item.kind === 'InferencePool' ? [item.metadata.name, item.spec.targetPorts[0]!.number] : [],
  )
  expect(ports).toEqual([
    ['a', 1],
    ['b', 2],
  ])
  expect(merged.objects).toBe(4)
  expect(merged.errors.map(({ position }) => position?.file)).toEqual(['two'])
  expect(merged.warnings.map(formatProblem)).toEqual([
    expect.stringMatching(/^two:1:1: warning: InferencePool default\/a: .*that one counts \(duplicate-object\)$/),
  ])
})
