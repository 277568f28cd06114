import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { describe, expect, it } from '@jest/globals'
import { destination } from './picker-answer.ts'
import { PickerRig, pod } from './picker-rig.ts'

const config = (parameters: string, more = '') => `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: token-load-scorer
- type: inflight-load-producer
  parameters: ${parameters}
${more}`
const ANSWERS = config('{ addEstimatedOutputTokens: true }')
const PLAIN = '/v1/completions'
const CHAT = '/v1/chat/completions'

const completion = (letter: string, bytes: number) => `"prompt":"${letter.repeat(bytes - 2)}"`
const chat = `"messages":[{"role":"user","content":"${'a'.repeat(800 - 32)}"}]`

/**
 * A long prompt (200 tokens, and 300 of its answer) goes to one endpoint and one of half its length to the other. The next request goes
 * to the first only where the long one's answer is known to be short.
 */
function goesAfterTheLongOne(path: string, fields: string, of = ANSWERS, byBytes = false): boolean {
  const rig = new PickerRig([pod(0, 0), pod(0, 0)], of)
  const text = `{"model":"m",${fields}}`
  const call = byBytes ? { body: text.split('') } : { body: text }
  const long = destination(rig.send({ path, ...call, headers: { 'content-length': String(text.length) } }))
  const short = destination(rig.send({ path: PLAIN, body: `{"model":"m",${completion('b', 400)}}` }))
  expect(short).not.toBe(long)
  return destination(rig.send({ path: PLAIN, body: `{"model":"m",${completion('c', 40)}}` })) === long
}

describe('output caps (epp.md §8.3): where the next request goes depends on them', () => {
  it.each<[boolean, string, string]>([
    [false, PLAIN, completion('a', 800)],
    [true, PLAIN, `${completion('a', 800)},"max_tokens":10`],
    [true, PLAIN, `"max_tokens":10,${completion('a', 800)}`],
    [true, PLAIN, `${completion('a', 800)},"max_tokens":0`],
    [false, PLAIN, `${completion('a', 800)},"max_tokens":200`],
    [false, PLAIN, `${completion('a', 800)},"max_tokens":-1`],
    [false, PLAIN, `${completion('a', 800)},"max_tokens":1.5`],
    [false, PLAIN, `${completion('a', 800)},"max_tokens":"10"`],
    [false, PLAIN, `${completion('a', 800)},"max_completion_tokens":10`],
    [false, PLAIN, `${completion('a', 800)},"max_output_tokens":10`],
    [false, CHAT, chat],
    [true, CHAT, `${chat},"max_tokens":10`],
    [true, CHAT, `${chat},"max_completion_tokens":10,"max_tokens":200`],
    [false, CHAT, `${chat},"max_tokens":10,"max_completion_tokens":200`],
    [true, CHAT, `${chat},"max_tokens":10,"max_completion_tokens":-1`],
    [true, '/v1/responses', `"input":"${'a'.repeat(798)}","max_output_tokens":10`],
    [false, '/v1/responses', `"input":"${'a'.repeat(798)}","max_tokens":10`],
    [true, '/v1/messages', `"max_tokens":10,${chat}`],
    [true, '/inference/v1/generate', `"sampling_params":{"max_tokens":10},"token_ids":[${'12345,'.repeat(133)}1]`],
    [false, '/inference/v1/generate', `"max_tokens":10,"token_ids":[${'12345,'.repeat(133)}1]`],
  ])('%s: %s %s', (expected, path, fields) => {
    expect(goesAfterTheLongOne(path, fields)).toBe(expected)
    expect(goesAfterTheLongOne(path, fields, ANSWERS, true)).toBe(expected)
  })

  it('the SGLang parser reads its own field', () => {
    const sglang = config(
      '{ addEstimatedOutputTokens: true }',
      `- type: openai-parser
- type: sglanghttp-parser
requestHandler: { parsers: [{ pluginRef: sglanghttp-parser }, { pluginRef: openai-parser }] }
`,
    )
    const ids = `"input_ids":[${'12345,'.repeat(133)}1]`
    expect(goesAfterTheLongOne('/generate', `${ids},"sampling_params":{"max_new_tokens":10}`, sglang)).toBe(true)
    expect(goesAfterTheLongOne('/generate', `${ids},"sampling_params":{"max_tokens":10}`, sglang)).toBe(false)
  })

  it.each([
    [undefined, 200 + 300],
    [10, 200 + 10],
    [0, 200],
  ])('vLLM over gRPC, max_tokens %s: %d tokens', (maxTokens, expected) => {
    const vllm = `- type: vllmgrpc-parser\nrequestHandler: { parsers: [{ pluginRef: vllmgrpc-parser }] }\n`
    const ids = new BinaryWriter()
    for (let i = 0; i < 200; i++) ids.uint32(i)
    const sampling = new BinaryWriter().tag(3, WireType.Varint).uint32(77)
    if (maxTokens !== undefined) sampling.tag(8, WireType.Varint).uint32(maxTokens)
    const message = new BinaryWriter()
      .tag(4, WireType.LengthDelimited)
      .bytes(sampling.finish())
      .tag(2, WireType.LengthDelimited)
      .bytes(new BinaryWriter().tag(2, WireType.LengthDelimited).bytes(ids.finish()).finish())
      .finish()
    const frame = Buffer.concat([Buffer.of(0, 0, 0, message.length >> 8, message.length & 0xff), message])
    for (const body of [[frame], Array.from(frame, byte => Buffer.of(byte))]) {
      const rig = new PickerRig([pod(0, 0)], config('{ addEstimatedOutputTokens: true }', vllm))
      const headers = { 'content-type': 'application/grpc' }
      rig.send({ path: '/vllm.grpc.engine.VllmEngine/Generate', body, headers })
      expect(rig.plan.pools.get('default/pool')!.table.counters.tokens(0)).toBe(expected)
    }
  })

  it('an operator may cap more, and answers that do not count are not capped', () => {
    const capped = config('{ addEstimatedOutputTokens: true, maxEstimatedOutputTokens: 20 }')
    expect(goesAfterTheLongOne(PLAIN, `${completion('a', 800)},"max_tokens":200`, capped)).toBe(false)
    expect(goesAfterTheLongOne(PLAIN, `${completion('a', 800)},"max_tokens":0`, config('{}'))).toBe(false)
  })

  it('is found behind a prompt that is longer than what the prefix index takes', () => {
    const rig = new PickerRig([pod(0, 0), pod(0, 0)], ANSWERS)
    const { counters } = rig.plan.pools.get('default/pool')!.table
    const body = `{"model":"m",${completion('a', 400_000)},"max_tokens":7}`
    const pieces = body.match(/[^]{1,50000}/g)!
    const answer = rig.send({ body: pieces, headers: { 'content-length': String(body.length) } })
    expect(answer.body).toBe(body)
    expect(counters.tokens(0) + counters.tokens(1)).toBe(100_000 + 7)
  })
})
