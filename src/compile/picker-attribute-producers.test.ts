import { expect, it } from '@jest/globals'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { compileSet } from './compile.ts'

function problems(producer: string, extractors: string): string[] {
  const text = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: endpoint-attribute-scorer
  parameters: { attributeKey: load, producer: ${producer}, algorithm: { type: linear_lower_is_better } }
${extractors}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: p }
spec: { selector: { matchLabels: { app: x } }, targetPorts: [{ number: 1 }] }
`
  const set = readTexts([{ file: 'picker.yaml', text }])
  return compileSet(set, { extProc: { addresses: ['127.0.0.1:1'] }, defaultPool: 'default/p' }).errors.map(
    formatProblem,
  )
}

it('the producer of an attribute is an extractor that is there', () => {
  expect(problems('core-metrics-extractor', '')).toEqual([])
  expect(problems('mine', '- { type: core-metrics-extractor, name: mine }')).toEqual([])
  expect(problems('nobody', '- { type: core-metrics-extractor, name: mine }')).toEqual([
    expect.stringMatching(/plugins\[0\].parameters.producer: there is no core-metrics-extractor "nobody"/),
  ])
  expect(problems('queue-scorer', '- type: queue-scorer')).toEqual([
    expect.stringMatching(/there is no core-metrics-extractor "queue-scorer"/),
  ])
})
