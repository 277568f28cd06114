import { describe, expect, it } from '@jest/globals'
import { UsageError } from '../command.ts'
import { parseGoFlags } from './go-flags.ts'
import { parseGoDuration, parseQuantity } from './go-values.ts'
import { parseCipherSuites, parseTlsVersion } from './tls-flags.ts'

const TYPES = { 'pool-name': 'string', v: 'string', secure: 'bool' } as const
const parse = (...argv: string[]) => Object.fromEntries(parseGoFlags(argv, TYPES, { old: 'is gone: use --new' }))

describe('parseGoFlags', () => {
  it.each([
    [['-pool-name', 'a'], { 'pool-name': ['a'] }],
    [['--pool-name', 'a', '--pool-name=b'], { 'pool-name': ['a', 'b'] }],
    [['--pool-name='], { 'pool-name': [''] }],
    [['--pool-name', '--v'], { 'pool-name': ['--v'] }],
    [['--pool-name=a=b'], { 'pool-name': ['a=b'] }],
    [['--pool-name=a\nb'], { 'pool-name': ['a\nb'] }],
    [['-v', '4', '--secure'], { v: ['4'], secure: ['true'] }],
    [['--secure=false', '-secure=1', '--secure=F'], { secure: ['false', 'true', 'false'] }],
  ])('%j', (argv, given) => expect(parse(...argv)).toEqual(given))

  it.each([
    [['--secure', 'false'], "'false' is no flag; write --secure=false"],
    [['--secure=yes'], "--secure: 'yes' is neither true nor false"],
    [['--pool-name'], '--pool-name needs a value'],
    [['--poolName', 'a'], 'there is no flag --poolName: it is called --pool-name now'],
    [['--pool-nam', 'a'], 'there is no flag --pool-nam (did you mean "pool-name"?)'],
    [['--old=1'], '--old is gone: use --new'],
    [['a'], "'a' is no flag"],
    [['--'], "'--' is no flag"],
    [['--constructor=x'], 'there is no flag --constructor'],
  ])('%j is refused', (argv, message) => {
    expect(() => parse(...argv)).toThrow(UsageError)
    expect(() => parse(...argv)).toThrow(message)
  })
})

it('reads durations as Go writes them', () => {
  const read = (text: string) => parseGoDuration(text, '--x')
  expect(['50ms', '2s', '1m30s', '1.5h', '0', '.5s', '250us'].map(read)).toEqual([
    50, 2000, 90_000, 5_400_000, 0, 500, 0.25,
  ])
  for (const text of ['', '5', 's', '-1s', '1 s', '1d']) expect(() => read(text)).toThrow(UsageError)
})

it('reads quantities as Kubernetes writes them', () => {
  const read = (text: string) => parseQuantity(text, '--x')
  expect(['4Mi', '1k', '1.5Ki', '4194304'].map(read)).toEqual([4_194_304, 1000, 1536, 4_194_304])
  for (const text of ['', '0', '-1', '4MB', '4m', 'Mi', '9e99']) expect(() => read(text)).toThrow(UsageError)
})

it('knows TLS by the names that Go has', () => {
  expect(parseTlsVersion('VersionTLS13')).toBe('TLSv1.3')
  expect(() => parseTlsVersion('toString')).toThrow(/VersionTLS12/)
  const text =
    'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_AES_256_GCM_SHA384'
  expect(parseCipherSuites(text).split(':').slice(3)).toEqual([
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
  ])
  expect(() => parseCipherSuites('TLS_RSA_WITH_AES_128_CBC_SHA')).toThrow(/HTTP\/2 forbids it/)
  expect(() => parseCipherSuites('TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA384')).toThrow(/no such suite/)
})
