import { describe, expect, it } from '@jest/globals'
import { DEFAULT_PARSERS, PARSER_TYPES, RequestApis } from './request-apis.ts'

const nameOf = (path: string, parsers: readonly string[] = DEFAULT_PARSERS) => new RequestApis(parsers).find(path)?.name

describe('the parser of a path (epp.md §8.2, registry)', () => {
  it.each([
    ['/v1/chat/completions', 'chat completions'],
    ['/prefix/v1/chat/completions/', 'chat completions'],
    ['/v1/chat/completions/render', 'chat completions'],
    ['/v1/completions', 'completions'],
    ['/v1/completions/render/', 'completions'],
    ['/v1/embeddings', 'embeddings'],
    ['/v1/responses', 'responses'],
    ['/v1/conversations', 'conversations'],
    ['/team-a/v1/images/generations', 'image generations'],
    ['/v1/messages', 'messages'],
    ['/v1/messages/', 'messages'],
    ['/v1/messages/count_tokens', 'messages'],
    ['/inference/v1/generate', 'vLLM generate'],
    ['/generate', 'pass-through'],
    ['/unknown/path', 'pass-through'],
    // A suffix begins at a slash.
    ['/v1/autocompletions', 'pass-through'],
    ['/', 'pass-through'],
  ])('%s is read as %s', (path, name) => {
    expect(nameOf(path)).toBe(name)
  })

  it('takes the longest suffix, whatever the order', () => {
    for (const parsers of [
      ['sglanghttp-parser', 'vllmhttp-parser'],
      ['vllmhttp-parser', 'sglanghttp-parser'],
    ]) {
      expect(nameOf('/inference/v1/generate', parsers)).toBe('vLLM generate')
      expect(nameOf('/v1/generate', parsers)).toBe('SGLang generate')
    }
  })

  it('knows no path that nobody claims, without passthrough-parser', () => {
    const parsers = PARSER_TYPES.filter(type => type !== 'passthrough-parser')
    expect(nameOf('/unknown/path', parsers)).toBeUndefined()
    expect(nameOf('/v1/chat/completions', ['passthrough-parser'])).toBe('pass-through')
  })

  it('stays small whatever paths clients make up', () => {
    const apis = new RequestApis(DEFAULT_PARSERS)
    for (let i = 0; i < 5000; i++) expect(apis.find(`/made-up/${i}/v1/completions`)?.name).toBe('completions')
  })
})
