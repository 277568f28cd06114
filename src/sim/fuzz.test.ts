import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { type Simulator, startSimulator } from './simulator.ts'

/** Bodies that are nearly right: known names with values of any kind. */
const names = [
  'model',
  'messages',
  'prompt',
  'input',
  'max_tokens',
  'stop',
  'stream',
  'stream_options',
  'n',
  'echo',
  'seed',
]
const more = [
  'role',
  'content',
  'tools',
  'logprobs',
  'lora_name',
  'lora_path',
  'durationMs',
  'min_tokens',
  'dimensions',
]
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constant([{ role: 'user', content: 'x' }]),
  fc.constantFrom('llama', true, 1, 5),
)
const object = fc.dictionary(fc.constantFrom(...names, ...more), value, { maxKeys: 8 })
const body = fc.oneof(
  { weight: 4, arbitrary: object.map(one => Buffer.from(JSON.stringify(one))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes)) },
)
const path = fc.constantFrom(
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/tokenize',
  '/v1/load_lora_adapter',
  '/v1/unload_lora_adapter',
  '/sim/fault',
)

describe('any body at any endpoint', () => {
  let simulator: Simulator
  beforeAll(async () => {
    simulator = await startSimulator({ port: 0, speed: 1000, maxOutputTokens: 20, maxModelLen: 200 })
  })
  afterAll(() => simulator.close())

  it('is answered, and never with a 500', async () => {
    const seen = new Set<number>()
    const property = fc.asyncProperty(path, body, async (target, bytes) => {
      const response = await fetch(simulator.url + target, { method: 'POST', body: bytes })
      await response.arrayBuffer()
      seen.add(response.status)
      expect([200, 400, 404]).toContain(response.status)
    })
    await fc.assert(property, { numRuns: 400, examples: [['/v1/completions', Buffer.from('{"prompt":"a"}')]] })
    expect(seen).toContain(200)
    expect(simulator.load()).toEqual({ running: 0, waiting: 0, kvUsage: 0 })
  })
})
