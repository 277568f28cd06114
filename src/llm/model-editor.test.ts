import { describe, expect, it } from '@jest/globals'
import { ModelEditor } from './model-editor.ts'

function edit(text: string, streams: boolean, chunk: number, from = 'target', to = 'asked "for"'): string {
  const editor = new ModelEditor()
  editor.begin(from, to, streams)
  const bytes = Buffer.from(text)
  const pieces: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += chunk) {
    const end = Math.min(bytes.length, at + chunk)
    pieces.push(Buffer.from(editor.edit(bytes, at, end, end === bytes.length)))
  }
  return Buffer.concat(pieces).toString()
}

const ASKED = String.raw`"asked \"for\""`
const JSON_CASES = [
  ['{"id":1,"model":"target","x":2}', `{"id":1,"model":${ASKED},"x":2}`],
  ['{"model" : "target"}', `{"model" : ${ASKED}}`],
  [String.raw`{"model":"t\u0061rget"}`, `{"model":${ASKED}}`],
  ['{"response":{"model":"target"},"model":"target"}', `{"response":{"model":${ASKED}},"model":${ASKED}}`],
  ['{"model":"other"}', undefined],
  ['{"model":null,"content":"\\"model\\":\\"target\\""}', undefined],
  ['{"choices":[{"model":"target","text":"\\"model\\": \\"target\\""}]}', undefined],
  ['{"a":{"model":"target"}}', undefined],
  ['{"model":"targe', undefined],
  ['{malformed "model":"target"', undefined],
  ['[]', undefined],
] as const

const SSE_CASES = [
  ['data: {"model":"target"}\n\ndata: [DONE]\n\n', `data: {"model":${ASKED}}\n\ndata: [DONE]\n\n`],
  ['data:{"model":"target"}\r\n\r\n', `data:{"model":${ASKED}}\r\n\r\n`],
  ['data:{"model":"target"}\r\r', `data:{"model":${ASKED}}\r\r`],
  ['event: model\n: "model":"target"\ndata: {"x":"\\"model\\":\\"target\\""}\n\n', undefined],
  [
    'data: {"type":"message_start","message":{"model":"target"}}\n\ndata: {"delta":1}\n\n',
    `data: {"type":"message_start","message":{"model":${ASKED}}}\n\ndata: {"delta":1}\n\n`,
  ],
  ['data: {"model":"target"}', `data: {"model":${ASKED}}`],
  ['data', undefined],
  ['', undefined],
] as const

describe.each([1, 2, 5, 16, 4096])('the model of a response in chunks of %i bytes', chunk => {
  it.each(JSON_CASES)('JSON: %s', (text, expected) => {
    expect(edit(text, false, chunk)).toBe(expected ?? text)
  })

  it.each(SSE_CASES)('stream: %j', (text, expected) => {
    expect(edit(text, true, chunk)).toBe(expected ?? text)
  })
})

it('holds back no more of a stream than a model that has begun', () => {
  const editor = new ModelEditor()
  editor.begin('target', 'asked', true)
  const send = (text: string) => Buffer.from(editor.edit(Buffer.from(text), 0, text.length, false)).toString()
  expect(send('data: {"model":"other"}\n\n')).toBe('data: {"model":"other"}\n\n')
  expect(send(': comment')).toBe(': comment')
  expect(send('\ndata: {"mod')).toBe('\ndata: {"mod')
  expect(send('el":"tar')).toBe('el":')
  expect(send('get"')).toBe('"asked"')
  expect(send('}\ndata: {"model":"oth')).toBe('}\ndata: {"model":')
  expect(send('er"}\n')).toBe('"other"}\n')
})

it.each([true, false])('lets a value pass that is longer than the name may be; streams: %s', streams => {
  const editor = new ModelEditor()
  editor.begin('target', 'asked', streams)
  const begun = Buffer.from(`${streams ? 'data: ' : ''}{"model":"${'x'.repeat(10_000)}`)
  expect(editor.edit(begun, 0, begun.length, false).length).toBe(begun.length)
  const one = Buffer.from('x')
  expect(editor.edit(one, 0, 1, false).length).toBe(1)
  const rest = Buffer.from('","message":{"model":"target"}}\n')
  const edited = Buffer.from(editor.edit(rest, 0, rest.length, true)).toString()
  expect(edited).toBe('","message":{"model":"asked"}}\n')
})

it('passes the end of a stream in the middle of a value', () => {
  const editor = new ModelEditor()
  editor.begin('target', 'asked', true)
  expect(Buffer.from(editor.edit(Buffer.from('data: {"model":"tar'), 0, 19, true)).toString()).toBe(
    'data: {"model":"tar',
  )
})

it('holds nothing of a long line: each further piece costs the same', () => {
  const editor = new ModelEditor()
  editor.begin('target', 'asked', true)
  const begun = Buffer.from(`data: {"text":"${'x'.repeat(1_000_000)}`)
  expect(editor.edit(begun, 0, begun.length, false).length).toBe(begun.length)
  const one = Buffer.from('x')
  for (let i = 0; i < 20_000; i++) expect(editor.edit(one, 0, 1, false).length === 1).toBe(true)
  const rest = Buffer.from('","model":"target"}\n')
  expect(Buffer.from(editor.edit(rest, 0, rest.length, true)).toString()).toBe('","model":"asked"}\n')
})
