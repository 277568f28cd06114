import { describe, expect, it } from '@jest/globals'
import { MetricSpecError, parseMetricSpec } from './metric-spec.ts'

describe('parseMetricSpec', () => {
  it.each([
    ['name', { name: 'name', labels: {} }],
    ['  vllm:num_requests_waiting ', { name: 'vllm:num_requests_waiting', labels: {} }],
    ['name{}', { name: 'name', labels: {} }],
    ['name{l=v}', { name: 'name', labels: { l: 'v' } }],
    ['name{l=v,l2="v2"}', { name: 'name', labels: { l: 'v', l2: 'v2' } }],
    [' name { l = v , l2 = "v 2" } ', { name: 'name', labels: { l: 'v', l2: 'v 2' } }],
    ['name{l="a,b}\\"=c"}', { name: 'name', labels: { l: 'a,b}"=c' } }],
    ['name{request_type=waiting}', { name: 'name', labels: { request_type: 'waiting' } }],
  ])('reads %j', (text, spec) => {
    expect(parseMetricSpec(text)).toEqual(spec)
  })

  it('takes an empty text for a signal that is switched off', () => {
    expect(parseMetricSpec('')).toBeUndefined()
    expect(parseMetricSpec('  ')).toBeUndefined()
  })

  it.each([
    ['name{l=v', 'no closing brace'],
    ['name{label}', 'no value'],
    ['name{=v}', 'without a name'],
    ['name{l=}', 'empty value'],
    ['name{l=""}', 'empty value'],
    ['name{l=v}x', 'after the closing brace'],
    ['{l=v}', 'no metric name'],
    ['na me', 'no metric name'],
    ['name}', 'no metric name'],
    ['9name', 'no metric name'],
    ['name{l=v,,m=w}', 'without a name'],
    ['name{l=v,l=w}', 'twice'],
    ['name{l-x=v}', 'no label name'],
    ['name{l="a"b}', 'cannot read'],
  ])('refuses %j', (text, message) => {
    expect(() => parseMetricSpec(text)).toThrow(MetricSpecError)
    expect(() => parseMetricSpec(text)).toThrow(message)
  })
})
