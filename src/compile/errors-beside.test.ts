import { expect, it } from '@jest/globals'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { compileSet } from './compile.ts'
import { errorsBeside } from './errors-beside.ts'

function errorsOf(text: string): string[] {
  const set = readTexts([{ file: 'a.yaml', text }])
  return compileSet(set, { extProc: { addresses: ['127.0.0.1:1'] } }).errors.map(formatProblem)
}

const PICKER = `apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
metadata: { name: p }
colour: red
plugins:
  - type: nosuch-thing
  - type: queue-scorer
    parameters: { x: 1 }
  - type: prefix-cache-scorer
    name: 7
schedulingProfiles:
  - name: default
    plugins:
      - pluginRef: nope
      - pluginRef: "7"
        weight: abc
`
const POOL = `apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: pool, annotations: { signalbox.dev/endpoint-picker-config: p, signalbox.dev/nosuch: x } }
spec: { selector: { matchLabels: { a: b } }, targetPorts: [{ number: 100000 }] }
`

it('tells errors of shape and of sense in one go, without consequences of the ones', () => {
  expect(errorsOf(`${PICKER}---\n${POOL}`)).toEqual([
    expect.stringMatching(/^a.yaml:4:9: .*unknown field "colour"/),
    expect.stringMatching(/^a.yaml:6:11: .*there is no plug-in type "nosuch-thing"/),
    expect.stringMatching(/^a.yaml:8:\d+: .*unknown field "x"/),
    expect.stringMatching(/^a.yaml:10:11: .*must be a string, not 7/),
    expect.stringMatching(/^a.yaml:14:20: .*there is no plug-in "nope"/),
    expect.stringMatching(/^a.yaml:16:17: .*must be a number, not "abc"/),
    expect.stringMatching(/^a.yaml:20:\d+: .*there is no annotation "signalbox.dev\/nosuch"/),
    expect.stringMatching(/^a.yaml:21:\d+: .*must be at most 65535/),
  ])
})

it('does not miss an object that cannot be read', () => {
  const good = POOL.replace('100000', '8000').replace(', signalbox.dev/nosuch: x', '')
  const unread = 'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nmetadata: { name: p }\nplugins: [7]\n'
  expect(errorsOf(`${unread}---\n${good}`)).toEqual([expect.stringMatching(/plugins\[0\]: must be an object, not 7/)])
  const missing = (message: string) => ({ severity: 'error', code: 'unresolved-reference', message }) as const
  const errors = [
    missing('there is no EndpointPickerConfig default/p'),
    missing('there is no EndpointPickerConfig default/p2'),
  ]
  expect(errorsBeside([{ object: 'EndpointPickerConfig default/p' }], errors, errors)).toEqual([errors[1]])
})
