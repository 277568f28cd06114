import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { describe, expect, it } from '@jest/globals'
import { destination } from './picker-answer.ts'
import { address, HERMETIC, PickerRig, pod } from './picker-rig.ts'

const PODS = [pod(0, 0), pod(0, 0.1)]
const PARSERS = `${HERMETIC}
- type: vllmgrpc-parser
- type: vertexai-parser
- type: openai-parser
- name: cost
  type: request-attribute-reporter
  parameters:
    attributes:
    - key: { name: cost }
      expression: usage.prompt_tokens + 1000.0 * usage.completion_tokens
requestHandler: { parsers: [{ pluginRef: vllmgrpc-parser }, { pluginRef: vertexai-parser }, { pluginRef: openai-parser }] }
`
const GRPC = { 'content-type': 'application/grpc' }
const OK = { ':status': '200', 'content-type': 'application/grpc' }
const GENERATE = '/vllm.grpc.engine.VllmEngine/Generate'
const EMBED = '/vllm.grpc.engine.VllmEngine/Embed'
const CHAT = '/google.cloud.aiplatform.v1beta1.PredictionService/ChatCompletions'
const RAW = '/google.cloud.aiplatform.v1beta1.PredictionService/StreamRawPredict'

const message = () => new BinaryWriter()
const frame = (bytes: Uint8Array, flag = 0): Buffer => {
  const head = Buffer.alloc(5)
  head[0] = flag
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}
const field = (number: number, bytes: Uint8Array | string) =>
  message().tag(number, WireType.LengthDelimited).bytes(Buffer.from(bytes)).finish()
const numbers = (values: Readonly<Record<number, number>>) =>
  Object.entries(values)
    .reduce((out, [number, value]) => out.tag(Number(number), WireType.Varint).uint32(value), message())
    .finish()
const vertex = (json: string) =>
  frame(Buffer.concat([field(1, 'endpoint'), field(2, Buffer.concat([field(1, 'application/json'), field(2, json)]))]))
const text = (prompt: string) => frame(Buffer.concat([field(1, 'id'), field(3, prompt), numbers({ 5: 1 })]))
const tokens = (count: number, first = 0) => {
  const packed = message()
  for (let i = 0; i < count; i++) packed.uint32(first + i)
  return frame(field(2, Buffer.concat([field(1, 'text'), field(2, packed.finish())])))
}
const cost = (value: number) => ({ 'envoy.lb': { cost: value } })

describe('H20: gRPC pools (epp.md §8.1, §3.12)', () => {
  const send = (path: string, body: Buffer, headers: Readonly<Record<string, string>> = {}) =>
    new PickerRig(PODS, PARSERS).send({
      path,
      body: [body.subarray(0, 3), body.subarray(3)],
      headers: { ...GRPC, ...headers },
    })

  it.each([
    [GENERATE, text('hello')],
    [GENERATE, tokens(3)],
    [EMBED, tokens(3)],
    [CHAT, vertex('{"model":"m","messages":[{"role":"user","content":"x"}]}')],
    [CHAT, vertex('{"messages":[{"role":"user","content":"x"}]}')],
    [RAW, vertex('{"model":"m","input":"x"}')],
  ])('%s is placed, and its body stays as it was', (path, body) => {
    const answer = send(path, body, { 'x-llm-d-model-name-rewrite': 'other' })
    expect(answer.refusal).toBeUndefined()
    expect(destination(answer)).toBe(address(0))
    expect(Buffer.from(answer.body, 'latin1').length).toBeGreaterThan(0)
    expect(answer.body).toBe(body.toString())
  })

  it.each([
    [GENERATE, frame(Buffer.from('x'), 1), /it is compressed/],
    [GENERATE, Buffer.from('no gRPC at all'), /it is none/],
    [GENERATE, text('hello').subarray(0, -2), /it is incomplete/],
    [GENERATE, frame(numbers({ 5: 1 })), /input/],
    [CHAT, vertex('{malformed'), /JSON/],
    [CHAT, vertex('{"model":"m"}'), /messages/],
    [CHAT, frame(field(1, 'endpoint')), /it has no body/],
  ])('%s is 400 (%#)', (path, body, why) => {
    const { refusal } = send(path, body)
    expect(refusal).toMatchObject({ status: 400 })
    expect(refusal!.body).toMatch(why)
  })

  it.each([
    ['text', (i: number) => text(`${i}`.repeat(2000))],
    ['token ids', (i: number) => tokens(1000, 5000 * i)],
    ['JSON in an envelope', (i: number) => vertex(JSON.stringify({ messages: [{ content: `${i}`.repeat(2000) }] }))],
  ])('prompts of %s stick to where they were sent', (name, body) => {
    const rig = new PickerRig([pod(0, 0), pod(0, 0)], PARSERS)
    const path = name.startsWith('JSON') ? CHAT : GENERATE
    const place = (i: number) => destination(rig.send({ path, body: [body(i)], headers: GRPC }))
    const first = [1, 2, 3, 4].map(place)
    for (let round = 0; round < 3; round++) expect([1, 2, 3, 4].map(place)).toEqual(first)
  })

  const complete = frame(field(2, Buffer.concat([field(2, 'stop'), numbers({ 3: 7, 4: 2, 5: 4 })])))
  const chunk = (values: Readonly<Record<number, number>>) =>
    frame(field(1, Buffer.concat([field(1, 'ab'), numbers(values)])))
  it.each([
    ['a whole answer', GENERATE, [complete], 2007],
    ['a stream', GENERATE, [chunk({}), chunk({ 2: 7, 3: 1 }), chunk({ 2: 7, 3: 2 })], 2007],
    ['an embedding', EMBED, [frame(Buffer.concat([field(1, 'float'), numbers({ 2: 7, 3: 4 })]))], 7],
    ['JSON', CHAT, [frame(field(2, '{"usage":{"prompt_tokens":7,"completion_tokens":2}}'))], 2007],
    [
      'JSON in several messages',
      CHAT,
      [frame(field(2, '{"usage":{"prompt_tokens":7,"completion_tokens":2}}')), frame(field(2, '{}'))],
      2007,
    ],
    [
      'events',
      CHAT,
      [
        frame(field(2, 'data: {"usage":{"prompt_tokens":7,"compl')),
        frame(field(2, 'etion_tokens":2}}\n\ndata: [DONE]\n\n')),
      ],
      2007,
    ],
  ])('usage of %s; responses end with trailers', (_name, path, frames, expected) => {
    const bytes = Buffer.concat(frames)
    const request = path === CHAT ? vertex('{"messages":[{}]}') : tokens(3)
    for (const size of [1, 7, bytes.length]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      )
      const response = new PickerRig(PODS, PARSERS)
        .open({ path, body: [request], headers: GRPC })
        .respond(OK, chunks, { trailers: true })
      expect(response).toMatchObject({ ended: false, trailers: true, metadata: cost(expected) })
    }
  })
})
