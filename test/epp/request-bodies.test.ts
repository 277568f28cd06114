import { describe, expect, it } from '@jest/globals'
import type { Answer } from './picker-answer.ts'
import { HERMETIC, PickerRig, pod } from './picker-rig.ts'

const PODS = [pod(3, 0.2), pod(0, 0.1), pod(10, 0.2)]
const CHAT = '/v1/chat/completions'
const OF_CHAT = '"messages":[{"role":"user","content":"x"}]'
const message = (fields: string) => `"messages":[{"role":"user","content":"x"},{${fields}}]`

interface OpenAiError {
  readonly code: string
  readonly param: string
  readonly message: string
}

function errorOf({ refusal }: Answer): OpenAiError {
  return (JSON.parse(refusal!.body) as { error: OpenAiError }).error
}

/** In one piece with its length, in one piece without, and in pieces of one byte. */
const SPLITS: readonly ((body: string) => { headers: Readonly<Record<string, string>>; body: readonly string[] })[] = [
  body => ({ headers: { 'content-length': String(Buffer.byteLength(body)) }, body: [body] }),
  body => ({ headers: {}, body: [body] }),
  body => ({ headers: {}, body: body.split('') }),
  body => ({ headers: { 'content-length': String(Buffer.byteLength(body)) }, body: body.split('') }),
]

const rig = new PickerRig(PODS)

/** @returns `error.param` of the refusal; undefined: it was sent on, as it came */
function send(path: string, body: string): string | undefined {
  const found = SPLITS.map(split => {
    const answer = rig.send({ path, ...split(body) })
    if (answer.refusal === undefined) {
      expect(answer.body).toBe(body)
      return undefined
    }
    expect([answer.refusal.status, errorOf(answer).code]).toEqual([400, 'invalid_field'])
    return errorOf(answer).param
  })
  expect(new Set(found).size).toBe(1)
  return found[0]
}

describe('request bodies (epp.md §8.3) are taken', () => {
  it.each([
    ['/v1/completions', '"prompt":"x"'],
    ['/v1/completions', '"prompt":["x"]'],
    ['/v1/completions', '"prompt":["a","b"]'],
    ['/v1/completions', '"prompt":["a",""]'],
    ['/v1/completions', '"prompt":[1,2,3]'],
    ['/v1/completions', '"prompt":[[1,2],[3]]'],
    ['/v1/completions', '"cache_salt":"s","prompt":"x"'],
    ['/v1/completions', '"prompt":"x","cache_salt":null,"messages":7'],
    ['/v1/completions/render', '"prompt":"x"'],
    ['/v1/completions/render/', '"prompt":"x"'],
    [CHAT, OF_CHAT],
    [CHAT, message('"role":"assistant","content":null,"tool_calls":[{"id":"a","function":{"arguments":"{}"}}]')],
    [CHAT, message('"role":"tool","tool_call_id":"a","content":"y"')],
    [CHAT, message('"role":"user","content":[{"type":"text","text":"y"},"z"]')],
    [CHAT, message('"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]')],
    [CHAT, message('"role":"user","content":[{"type":"input_audio","input_audio":{"data":"d","format":"wav"}}]')],
    [CHAT, message('"role":"user","content":[{"type":"video_url","video_url":{"url":"u"}}]')],
    [CHAT, message('"ro\\u006ce":"user","content":"role: 1"')],
    [
      CHAT,
      `"tools":[{"type":"function"}],"documents":[{"text":"d"}],"chat_template":"t","return_assistant_tokens_mask":true,` +
        `"continue_final_message":false,"add_generation_prompt":true,"chat_template_kwargs":{"role":1},${OF_CHAT}`,
    ],
    [CHAT, `${OF_CHAT},"tools":null,"documents":null,"chat_template":null,"chat_template_kwargs":null`],
    [CHAT, `${OF_CHAT},"return_assistant_tokens_mask":null,"continue_final_message":null,"add_generation_prompt":null`],
    // What is in them is the engine's to judge.
    [CHAT, `${OF_CHAT},"tools":[1],"documents":["d"],"max_tokens":"x","metadata":{"tools":7}`],
    [`${CHAT}/render`, OF_CHAT],
    [`${CHAT}/render/`, OF_CHAT],
    ['/v1/responses', '"input":"x"'],
    ['/v1/responses', '"input":[{}],"text":{"format":{"type":"text"}}'],
    ['/v1/conversations', '"items":[{"type":"message","role":"user","content":"x"}]'],
    ['/v1/conversations', '"items":[]'],
    ['/v1/embeddings', '"input":"x"'],
    ['/v1/embeddings', '"input":["x"]'],
    ['/v1/embeddings', '"input":[1]'],
    ['/v1/images/generations', '"prompt":"x"'],
    ['/some/where/v1/images/generations', '"prompt":"x"'],
    ['/v1/messages', `${OF_CHAT},"system":"s","tools":[{}]`],
    ['/v1/messages/', `"system":[{"type":"text","text":"s"}],${OF_CHAT}`],
    ['/v1/messages/count_tokens', OF_CHAT],
    ['/inference/v1/generate', '"token_ids":[1,2]'],
    ['/unknown', '"messages":7,"prompt":7'],
  ])('%s {%s}', (path, fields) => {
    expect(send(path, `{"model":"m",${fields}}`)).toBeUndefined()
    expect(send(path, ` { ${fields} , "model" : "m" } `)).toBeUndefined()
  })
})

describe('request bodies (epp.md §8.3) are refused for the field', () => {
  it.each([
    ['/v1/completions', '"prompt":[""]', 'prompt'],
    ['/v1/completions', '"prompt":[ "" ]', 'prompt'],
    ['/v1/completions', '"prompt":""', 'prompt'],
    ['/v1/completions', '"prompt":[]', 'prompt'],
    ['/v1/completions', '"prompt":123', 'prompt'],
    ['/v1/completions', '"prompt":{"text":"x"}', 'prompt'],
    ['/v1/completions', '"prompt":null', 'prompt'],
    ['/v1/completions', '"x":1', 'prompt'],
    ['/v1/completions', '"prompt":[1,"a"]', 'prompt[1]'],
    ['/v1/completions', '"prompt":[{"text":"x"}]', 'prompt[0]'],
    ['/v1/completions', '"prompt":[[1],["a"]]', 'prompt[1][0]'],
    ['/v1/completions', '"prompt":"x","cache_salt":7', 'cache_salt'],
    ['/v1/completions/render', '"prompt":123', 'prompt'],
    ['/v1/completions/render/', '"x":1', 'prompt'],
    [CHAT, '"x":1', 'messages'],
    [CHAT, '"messages":"str"', 'messages'],
    [CHAT, '"messages":[]', 'messages'],
    [CHAT, '"messages":{}', 'messages'],
    [CHAT, '"messages":null', 'messages'],
    [CHAT, '"messages":["str"]', 'messages[0]'],
    [CHAT, message('"role":123,"content":"y"'), 'messages[1].role'],
    [CHAT, message('"role":["user"],"content":"y"'), 'messages[1].role'],
    [CHAT, message('"role":"user","content":123'), 'messages[1].content'],
    [CHAT, message('"role":"user","content":true'), 'messages[1].content'],
    [CHAT, message('"role":"user","content":{"text":"y"}'), 'messages[1].content'],
    [CHAT, message('"role":"user","content":[123]'), 'messages[1].content[0]'],
    [CHAT, message('"role":"user","content":[{"type":"text","text":123}]'), 'messages[1].content[0].text'],
    [CHAT, message('"role":"user","content":[{},{"type":1}]'), 'messages[1].content[1].type'],
    [CHAT, message('"ro\\u006ce":1'), 'messages[1].role'],
    [CHAT, `${OF_CHAT},"tools":"str"`, 'tools'],
    [CHAT, `"tools":{},${OF_CHAT}`, 'tools'],
    [CHAT, `${OF_CHAT},"documents":"str"`, 'documents'],
    [CHAT, `${OF_CHAT},"documents":1`, 'documents'],
    [CHAT, `${OF_CHAT},"chat_template":123`, 'chat_template'],
    [CHAT, `${OF_CHAT},"return_assistant_tokens_mask":"true"`, 'return_assistant_tokens_mask'],
    [CHAT, `${OF_CHAT},"continue_final_message":1`, 'continue_final_message'],
    [CHAT, `${OF_CHAT},"add_generation_prompt":"false"`, 'add_generation_prompt'],
    [CHAT, `${OF_CHAT},"chat_template_kwargs":"str"`, 'chat_template_kwargs'],
    [CHAT, `${OF_CHAT},"chat_template_kwargs":[]`, 'chat_template_kwargs'],
    [`${CHAT}/render`, message('"role":123'), 'messages[1].role'],
    [`${CHAT}/render/`, '"messages":[]', 'messages'],
    ['/v1/responses', '"x":1', 'input'],
    ['/v1/responses', '"input":null', 'input'],
    ['/v1/conversations', '"items":"str"', 'items'],
    ['/v1/conversations', '"items":[{},1]', 'items[1]'],
    ['/v1/embeddings', '"x":1', 'input'],
    ['/v1/embeddings', '"input":null', 'input'],
    ['/v1/images/generations', '"x":1', 'prompt'],
    ['/v1/images/generations', '"prompt":""', 'prompt'],
    ['/some/where/v1/images/generations', '"prompt":123', 'prompt'],
    ['/v1/messages', '"messages":[{"role":1}]', 'messages[0].role'],
    ['/v1/messages/', '"messages":[]', 'messages'],
    ['/v1/messages', `${OF_CHAT},"system":7`, 'system'],
  ])('%s {%s}: %s', (path, fields, param) => {
    expect(send(path, `{"model":"m",${fields}}`)).toBe(param)
    expect(send(path, ` { ${fields} , "model" : "m" } `)).toBe(param)
  })
})

describe('request bodies', () => {
  it('say what was expected', () => {
    const body = `{"model":"m",${message('"content":7')}}`
    expect(errorOf(rig.send({ path: CHAT, body })).message).toBe(
      'Invalid chat completions request: `messages[1].content` must be a text or a list.',
    )
  })

  it.each([
    ['/v1/images/generations', '"prompt":"x"', undefined],
    ['/some/where/v1/images/generations', '"prompt":"x"', undefined],
    ['/v1/conversations', '"items":[{}]', undefined],
    [CHAT, OF_CHAT, 'missing_model'],
    ['/v1/messages', OF_CHAT, 'missing_model'],
    ['/inference/v1/generate', '"token_ids":[1]', 'missing_model'],
  ])('without a model: %s {%s} → %s', (path, fields, code) => {
    const answer = rig.send({ path, body: `{${fields}}` })
    expect(answer.refusal === undefined ? undefined : errorOf(answer).code).toBe(code)
  })

  it.each([
    [{ 'x-original-path': '/v1/messages', 'x-forwarded-path': '/unknown' }, 'messages'],
    [{ 'x-original-path': '/unknown', 'x-forwarded-path': '/v1/messages' }, undefined],
    [{ 'x-forwarded-path': '/v1/messages?x=1' }, 'messages'],
    // As /v1/completions.
    [{}, 'prompt'],
  ])('by the path of %j where there is none → %s', (headers, param) => {
    const answer = rig.send({ headers, path: undefined, body: '{"model":"m","messages":[]}' })
    expect(answer.refusal === undefined ? undefined : errorOf(answer).param).toBe(param)
  })

  it('are the next request’s again, after one that was refused', () => {
    for (let i = 0; i < 3; i++) {
      expect(send(CHAT, `{"model":"m",${message('"role":1')}}`)).toBe('messages[1].role')
      expect(send('/unknown', `{"model":"m",${message('"role":1')}}`)).toBeUndefined()
      expect(send(CHAT, `{"model":"m",${OF_CHAT}}`)).toBeUndefined()
    }
  })

  it('are checked to their end where they are small, and in their first 16 KiB', () => {
    const wrong = (bytes: number) => `{"model":"m","messages":[{"content":"${'x'.repeat(bytes)}"}],"tools":1}`
    expect(send(CHAT, wrong(16_000))).toBe('tools')
    // All of it is read, because the model comes last.
    expect(send(CHAT, `${wrong(20_000).replace('"model":"m",', '').slice(0, -1)},"model":"m"}`)).toBeUndefined()
    const large = wrong(200_000)
    for (const headers of [{}, { 'content-length': String(large.length) }])
      expect(rig.send({ path: CHAT, headers, body: large.match(/.{1,16384}/g)! }).refusal).toBeUndefined()
    // What comes before is seen.
    const early = `{"tools":1,${large.slice(1)}`
    expect(errorOf(rig.send({ path: CHAT, body: early.match(/.{1,16384}/g)! })).param).toBe('tools')
  })

  it('are not checked where no parser of the pool reads them', () => {
    const config = `${HERMETIC}- type: passthrough-parser\nrequestHandler: { parsers: [{ pluginRef: passthrough-parser }] }\n`
    const answer = new PickerRig(PODS, config).send({ path: CHAT, body: `{"model":"m",${message('"role":1')}}` })
    expect(answer.refusal).toBeUndefined()
  })

  it('bring the salt of prompt caches: the same prompt with another one is another prompt', () => {
    const rig = new PickerRig([pod(0, 0), pod(0, 0)])
    const body = (salt: string) =>
      `{"model":"m","prompt":"${'once upon a time '.repeat(100)}"${salt === '' ? '' : `,"cache_salt":"${salt}"`}}`
    // 412 unless the chosen endpoint has the prompt's beginning.
    const isCached = (salt: string) =>
      rig.send({ headers: { prefer: 'if-available' }, body: body(salt) }).refusal === undefined
    expect(isCached('s')).toBe(false)
    rig.send({ body: body('s') })
    expect(['s', 't', ''].map(isCached)).toEqual([true, false, false])
    rig.send({ body: body('') })
    expect(['s', 't', ''].map(isCached)).toEqual([true, false, true])
  })
})
