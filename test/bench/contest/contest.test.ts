import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { TUNED } from '../placement/setups.ts'
import type { Arrival, Workload } from '../placement/workloads.ts'
import type { Answer } from './load.ts'
import { parseContestOptions } from './options.ts'
import { failuresOf, outcomeOf } from './outcome.ts'
import { findPeer, INFERENCE_SIM } from './peer-binaries.ts'
import { hitShare, inferenceSimArgs } from './replicas.ts'
import { requestBody, wordOf } from './requests.ts'
import { StreamedAnswer } from './streamed-answer.ts'

const arrival: Arrival = { at: 0, model: 'base', prompt: Uint32Array.of(1, 2, 0x7ffffffe), outputTokens: 3 }

describe('a request', () => {
  it('has a word of four bytes for a token', () => {
    const body = JSON.parse(requestBody(arrival, 'completions').toString()) as { readonly prompt: string }
    expect(body).toMatchObject({ model: 'base', max_tokens: 3, ignore_eos: true, stream: true })
    expect(body.prompt).toBe(Array.from(arrival.prompt, wordOf).join(''))
    expect(body.prompt.split(' ').map(word => word.length)).toEqual([3, 3, 3, 0])
    expect(new Set(Array.from({ length: 10_000 }, (_, token) => wordOf(token))).size).toBe(10_000)
  })

  it('is a message for the chat API', () => {
    const { prompt } = JSON.parse(requestBody(arrival, 'completions').toString()) as { readonly prompt: string }
    const chat = JSON.parse(requestBody(arrival, 'chat').toString()) as object
    expect(chat).toMatchObject({ messages: [{ role: 'user', content: prompt }] })
    expect(chat).not.toHaveProperty('prompt')
  })
})

const STREAM = [
  'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
  'data: {"usage":null,"choices":[{"index":0,"text":"The "}]}\n\n',
  'data: {"usage":null,"choices":[{"index":0,"text":"end"}]}\n\n',
  'data: {"choices":[{"index":0,"finish_reason":"length","text":""}]}\n\n',
  'data: {"usage":{"prompt_tokens":21,"completion_tokens":2},"choices":[]}\n\n',
  'data: [DONE]\n\n',
]

describe('a streamed answer', () => {
  it('has its first token with the first text, its last with the last', () => {
    const answer = new StreamedAnswer()
    STREAM.forEach((event, at) => answer.feed(event, at))
    expect(answer).toMatchObject({ firstTokenAt: 1, lastTokenAt: 2, completionTokens: 2, done: true })
  })

  it('is the same byte for byte, and not done before its end', () => {
    const answer = new StreamedAnswer()
    const text = STREAM.join('')
    for (const [at, byte] of Array.from(text).entries()) {
      expect(answer.done).toBe(at > text.indexOf('[DONE]\n') + 6)
      answer.feed(byte, at)
    }
    const [first, second] = ['"The "}]}\n', '"end"}]}\n'].map(part => text.indexOf(part) + part.length - 1)
    expect(answer).toMatchObject({ firstTokenAt: first, lastTokenAt: second, completionTokens: 2, done: true })
  })
})

describe('an outcome', () => {
  const workload: Workload = {
    name: 'w',
    title: 'w',
    arrivals: [arrival],
    engines: [TUNED.engine],
    yardstick: { ...TUNED.engine, prefillBaseMs: 10, prefillMsPerToken: 0 },
    drainMs: 0,
  }
  const answer = (ttft: number | undefined, failure?: string): Answer => ({
    arrival,
    ttft,
    tpot: failure === undefined ? 20 : undefined,
    whole: failure === undefined,
    failure,
  })

  it('calls good what came whole within twice the unloaded time and 100 ms', () => {
    const answers = [answer(119), answer(121), answer(50, 'cut'), answer(undefined, '503'), answer(undefined, '503')]
    const { ttft, ...rest } = outcomeOf(workload, 'c', answers, 0.25)
    expect(rest).toEqual({ workload: 'w', contender: 'c', requests: 5, tpot: 20, good: 0.2, hits: 0.25, failed: 3 })
    expect(ttft).toEqual({
      p50: Number.POSITIVE_INFINITY,
      p90: Number.POSITIVE_INFINITY,
      p99: Number.POSITIVE_INFINITY,
    })
    expect([...failuresOf(answers)]).toEqual([
      ['cut', 1],
      ['503', 2],
    ])
  })

  it('has the hits of all pages', () => {
    const page = (hits: number, queries: number) =>
      `# HELP vllm:prefix_cache_hits_total x\nvllm:prefix_cache_hits_total{model_name="base"} ${hits}\n` +
      `vllm:prefix_cache_queries_total{model_name="base"} ${queries}\n`
    expect(hitShare([page(10, 20), page(0, 80)])).toBe(0.1)
    expect(hitShare([''])).toBe(0)
  })
})

it('gives llm-d-inference-sim the options of the engine', () => {
  const args = inferenceSimArgs({ ...TUNED.engine, maxNumSeqs: 11, decodeGrowth: 0.05, prefillMsPerToken: 0.25 }, 1234)
  const value = (flag: string) => args.find(arg => arg.startsWith(`${flag}=`))?.slice(flag.length + 1)
  expect(value('--port')).toBe('1234')
  expect(value('--prefill-time-per-token')).toBe('250us')
  expect(value('--prefill-overhead')).toBe('15000us')
  expect(value('--max-num-seqs')).toBe('11')
  expect(value('--time-factor-under-load')).toBe('1.500')
})

describe('the command line', () => {
  it('has defaults, and lists', () => {
    expect(parseContestOptions([])).toMatchObject({
      seeds: [101],
      seconds: 40,
      setup: TUNED,
      api: 'completions',
      atOnce: 1,
    })
    const args = ['--workload', 'chat,lora', '--contenders', 'random,signalbox', '--seed', '7,8', '--slow-down', '2.4']
    const options = parseContestOptions([...args, '--load', '2', '--engines', 'large-batches', '--api', 'chat'])
    expect(options).toMatchObject({ workloads: ['chat', 'lora'], contenders: ['random', 'signalbox'], seeds: [7, 8] })
    expect(options).toMatchObject({ api: 'chat', setup: { name: 'large-batches', pace: 0.35 } })
    const { engine } = (options as { readonly setup: typeof TUNED }).setup
    expect(1 + engine.decodeGrowth * (engine.maxNumSeqs - 1)).toBeCloseTo(2.4)
  })

  it.each([
    ['--workload', 'chat,cat'],
    ['--contenders', ''],
    ['--seed', '1,'],
    ['--seconds', '0'],
    ['--load', 'x'],
    ['--slow-down', '0.5'],
    ['--engines', 'steam'],
    ['--api', 'grpc'],
    ['--what', '1'],
  ])('refuses %s %s', (name, value) => {
    expect(() => parseContestOptions([name, value])).toThrow(expect.objectContaining({ code: 'contest_usage' }))
  })
})

describe('a program of others', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signalbox-test-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('is what the variable names, else on the PATH, if it can be run', async () => {
    const env = { PATH: `/nowhere:${folder}`, SIGNALBOX_CACHE: join(folder, 'cache') }
    const path = join(folder, INFERENCE_SIM.name)
    await writeFile(path, '', { mode: 0o644 })
    expect(await findPeer(INFERENCE_SIM, env, folder)).toBeUndefined()
    await rm(path)
    await writeFile(path, '', { mode: 0o755 })
    expect(await findPeer(INFERENCE_SIM, env, folder)).toBe(path)
    expect(await findPeer(INFERENCE_SIM, { ...env, [INFERENCE_SIM.variable]: '/my/sim' }, folder)).toBe('/my/sim')
  })
})
