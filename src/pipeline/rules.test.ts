import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { HeaderView } from '../extproc/header-view.ts'
import type { RulePlan, ValueMatch } from './plan.ts'
import {
  chooseTarget,
  linkRule,
  matchesModel,
  matchesRequest,
  pathLength,
  queryParameter,
  type RuleFacts,
} from './rules.ts'
import { model, rule, target } from '../../test/support/pipeline-play.ts'

function headersOf(pairs: readonly (readonly [string, string])[]): HeaderView {
  const view = new HeaderView()
  view.bytes = Buffer.from(pairs.flat().join(''))
  let at = 0
  for (const [name, value] of pairs) {
    const [nameEnd, valueEnd] = [at + Buffer.byteLength(name), at + Buffer.byteLength(name) + Buffer.byteLength(value)]
    view.add(at, nameEnd, nameEnd, valueEnd)
    at = valueEnd
  }
  return view
}

function facts(changes: Partial<RuleFacts> = {}): RuleFacts {
  const { path = '/' } = changes
  const pathEnd = pathLength(path)
  return { path, pathEnd, method: 'POST', headers: headersOf([]), model: undefined, baseModel: undefined, ...changes }
}

function matches(changes: Partial<RulePlan>, request: Partial<RuleFacts>): boolean {
  const linked = linkRule(rule('r', changes), plan => ({ plan }))
  return matchesRequest(linked, facts(request)) && matchesModel(linked, facts(request))
}

const prefix = (value: string) => ({ path: { type: 'prefix' as const, value } })
const exact = (value: string) => ({ path: { type: 'exact' as const, value } })

describe('paths', () => {
  it.each([
    ['/v1', '/v1', true],
    ['/v1', '/v1/', true],
    ['/v1', '/v1/chat', true],
    ['/v1', '/v1?x=/v2', true],
    ['/v1', '/v1#x', true],
    ['/v1', '/v11', false],
    ['/v1', '/v', false],
    ['/v1', '/V1', false],
    ['/v1', '/x?/v1', false],
    ['/v1', '', false],
    ['/v1/', '/v1', true],
    ['/v1/', '/v1/x', true],
    ['/v1/a', '/v1?/a', false],
    ['/', '/', true],
    ['/', '/anything?x', true],
    ['/', '*', false],
    ['/ü', '/ü/x', true],
  ])('prefix %s, path %s: %s', (value, path, expected) => {
    expect(matches(prefix(value), { path })).toBe(expected)
  })

  it.each([
    ['/v1', '/v1', true],
    ['/v1', '/v1?a=b#c', true],
    ['/v1', '/v1#c?a', true],
    ['/v1', '/v1/', false],
    ['/v1/', '/v1', false],
    ['/v1', '/v1/x', false],
    ['/v1', '', false],
    ['/', '/', true],
    ['/', '', false],
  ])('exact %s, path %s: %s', (value, path, expected) => {
    expect(matches(exact(value), { path })).toBe(expected)
  })

  it('prefixes match whole segments, as the Gateway API says', () => {
    const segment = fc.constantFrom('a', 'b', 'ab', '')
    const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map(parts => `/${parts.join('/')}`)
    const tail = fc.constantFrom('', '?', '?a/b', '#a', '?x#/a', '#/a?b')
    fc.assert(
      fc.property(path, path, tail, (value, request, rest) => {
        const trimmed = value.endsWith('/') ? value.slice(0, -1) : value
        const wanted = trimmed.split('/')
        const expected = wanted.every((part, i) => request.split('/')[i] === part)
        expect(matches(prefix(value), { path: request + rest })).toBe(expected)
        expect(matches(exact(value), { path: request + rest })).toBe(request === value)
        expect(pathLength(request + rest)).toBe(request.length)
      }),
    )
  })
})

describe('queries', () => {
  it.each([
    ['/x?a=1&b=2', 'b', '2'],
    ['/x?a=1&a=2', 'a', '1'],
    ['/x?a', 'a', ''],
    ['/x?a=', 'a', ''],
    ['/x?a=b=c', 'a', 'b=c'],
    ['/x?a=%31', 'a', '%31'],
    ['/x?a=1#b=2', 'b', undefined],
    ['/x?A=1', 'a', undefined],
    ['/x?', 'a', undefined],
    ['/x', 'a', undefined],
    ['', 'a', undefined],
    ['/x?a=1?b=2', 'a', '1?b=2'],
    ['/x?&&a=1', 'a', '1'],
    ['/x?__proto__=1', '__proto__', '1'],
  ])('%s has %s: %s', (path, name, value) => {
    expect(queryParameter(path, name)).toBe(value)
  })

  it('all conditions have to hold', () => {
    const query: ValueMatch[] = [
      { name: 'a', type: 'exact', value: '1' },
      { name: 'b', type: 'regex', value: '[0-9]+' },
    ]
    expect(matches({ query }, { path: '/?b=22&a=1' })).toBe(true)
    expect(matches({ query }, { path: '/?b=2x&a=1' })).toBe(false)
    expect(matches({ query }, { path: '/?a=1' })).toBe(false)
  })
})

describe('headers', () => {
  const header = (type: 'exact' | 'regex', value: string) => ({ headers: [{ name: 'x-tier', type, value }] })

  it('are compared whole; repeated ones joined by commas, as Envoy does', () => {
    const gold = headersOf([['x-tier', 'gold']])
    expect(matches(header('exact', 'gold'), { headers: gold })).toBe(true)
    expect(matches(header('exact', 'Gold'), { headers: gold })).toBe(false)
    expect(matches(header('regex', 'go'), { headers: gold })).toBe(false)
    expect(matches(header('regex', 'silver|gold'), { headers: gold })).toBe(true)
    expect(matches(header('exact', 'gold'), {})).toBe(false)
    const both = headersOf([
      ['x-tier', 'gold'],
      ['x-other', '1'],
      ['x-tier', 'red'],
    ])
    expect(matches(header('exact', 'gold,red'), { headers: both })).toBe(true)
    expect(matches(header('exact', 'gold'), { headers: both })).toBe(false)
    expect(matches(header('exact', ''), { headers: headersOf([['x-tier', '']]) })).toBe(true)
    expect(matches(header('exact', 'größer'), { headers: headersOf([['x-tier', 'größer']]) })).toBe(true)
  })

  it('and the method', () => {
    expect(matches({ method: 'POST' }, {})).toBe(true)
    expect(matches({ method: 'GET' }, {})).toBe(false)
  })
})

describe('models', () => {
  it('match exactly or by a whole regular expression; no model matches nothing', () => {
    expect(matches({ model: model('a') }, { model: 'a' })).toBe(true)
    expect(matches({ model: model('a') }, { model: 'ab' })).toBe(false)
    expect(matches({ model: model('a|b.*', 'regex') }, { model: 'bx' })).toBe(true)
    expect(matches({ model: model('a|b.*', 'regex') }, { model: 'xa' })).toBe(false)
    expect(matches({ model: model('.*', 'regex') }, {})).toBe(false)
    expect(matches({ model: model('..', 'regex') }, { model: '🚂' })).toBe(false)
    expect(matches({ model: model('a'), baseModel: model('base') }, { model: 'a' })).toBe(false)
    expect(matches({ model: model('a'), baseModel: model('base') }, { model: 'a', baseModel: 'base' })).toBe(true)
  })
})

describe('chooseTarget', () => {
  it('gives each target its share of [0, 1), in order, and always one of them', () => {
    const weights = fc.array(fc.nat(1_000_000), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(weights, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (each, random) => {
        const targets = each.map((weight, i) => target(String(i), { weight }))
        const linked = linkRule(rule('r', { targets }), plan => ({ plan }))
        const chosen = chooseTarget(linked, random)
        const total = each.reduce((sum, weight) => sum + weight, 0)
        let sum = 0
        const expected = each.findIndex(weight => (sum += weight) > random * total)
        expect(chosen?.plan.id).toBe(total === 0 ? undefined : String(expected))
      }),
    )
  })
})
