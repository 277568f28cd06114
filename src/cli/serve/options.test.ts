import { availableParallelism } from 'node:os'
import { describe, expect, it } from '@jest/globals'
import { UsageError } from '../command.ts'
import { parseHost, parseListen, parseReachable } from '../options.ts'
import { parseServeOptions } from './options.ts'
import { reachableAt } from './own-addresses.ts'
import { SERVE_HELP } from './serve-help.ts'

const parse = (...args: string[]) => parseServeOptions(['--config', 'c', ...args])

describe('parseListen', () => {
  it.each([
    ['127.0.0.1:80', '127.0.0.1', 80],
    ['[::1]:0', '::1', 0],
    ['localhost:65535', 'localhost', 65_535],
    [':80', '127.0.0.1', 80],
    ['80', '127.0.0.1', 80],
  ])('%s', (text, host, port) => {
    expect(parseListen(text, '--x')).toEqual({ host, port })
  })

  it.each([
    '',
    'x',
    'x:',
    'x:65536',
    'x:-1',
    'x:1.5',
    '::1:80',
    '[x]:80',
    '[::1]',
    'a b:80',
    '999.1.1.1:80',
    'http://x:80',
    'x/:80',
  ])('refuses %j', text => expect(() => parseListen(text, '--x')).toThrow(UsageError))
})

it('parseReachable needs a host and a port', () => {
  for (const text of ['10.0.0.1:80', '[fd00::1]:80', 'signalbox.example:80'])
    expect(parseReachable(text, '--x')).toBe(text)
  for (const text of ['80', ':80', 'x:0', 'x']) expect(() => parseReachable(text, '--x')).toThrow(UsageError)
})

it('parseHost takes no port', () => {
  expect(['10.0.0.1', '[::1]', '::1', 'a.b'].map(text => parseHost(text, '--x'))).toEqual([
    '10.0.0.1',
    '::1',
    '::1',
    'a.b',
  ])
  for (const text of ['', 'x:80', '[x]', 'a b', '[10.0.0.1]']) expect(() => parseHost(text, '--x')).toThrow(UsageError)
})

describe('the options of serve', () => {
  it('are all in the help, with their defaults', () => {
    const named = [...SERVE_HELP.matchAll(/^ {2}--([a-z-]+)/gm)].map(match => match[1]!)
    for (const name of named) {
      // A known option without its value says so; an unknown one is called unknown.
      expect(() => parse('--no-such-option')).toThrow(/no option/)
      try {
        parse(`--${name}`)
      } catch (error) {
        expect(String(error)).not.toContain('no option')
      }
    }
    expect(named).toHaveLength(46)
    expect(parse()).toEqual({
      config: ['c'],
      kubernetes: undefined,
      extProc: { host: '127.0.0.1', port: 9002 },
      xds: { host: '127.0.0.1', port: 18_000 },
      admin: { host: '127.0.0.1', port: 9090 },
      advertise: undefined,
      tls: 'off',
      clientCaFile: undefined,
      xdsTls: undefined,
      tlsCaFile: undefined,
      tlsClient: undefined,
      pool: undefined,
      modeOverride: 'none',
      maxHeldBytes: 536_870_912,
      maxConnectionAgeMs: undefined,
      maxStreams: undefined,
      maxConnections: undefined,
      drainMs: 20_000,
      threads: Math.min(availableParallelism(), 64),
      transport: 'own',
      trust: 'all',
      accessLogService: true,
      descriptors: undefined,
      plugins: [],
      peers: undefined,
      measuring: { compat: false, threads: {}, tracing: undefined },
      records: { scores: false, explainKeyFile: undefined, explainClientsFile: undefined, trace: undefined },
      embedded: false,
      logLevel: 'info',
    })
  })

  it('follow an API server beside files, or alone', () => {
    const kubernetes = { kubeconfig: 'k', namespace: 'models' }
    expect(parse('--kubernetes', '--kubeconfig', 'k', '--namespace', 'models')).toMatchObject({
      config: ['c'],
      kubernetes,
    })
    expect(parseServeOptions(['--kubernetes'])).toMatchObject({
      config: [],
      kubernetes: { kubeconfig: undefined, namespace: undefined },
    })
    expect(() => parseServeOptions([])).toThrow(/--config is missing \(or --kubernetes\)/)
    expect(() => parse('--kubeconfig', 'k')).toThrow('--kubeconfig needs --kubernetes')
    expect(() => parse('--namespace', 'n')).toThrow('--namespace needs --kubernetes')
    expect(() => parse('--kubernetes', '--namespace', '')).toThrow('--namespace: is empty')
  })

  it('are read', () => {
    const addresses = parse(
      '--config',
      'd',
      '--ext-proc',
      'unix:/run/x.sock',
      '--xds',
      'off',
      '--admin',
      'off',
      '--pool',
      'a/b',
    )
    expect(addresses).toMatchObject({
      config: ['c', 'd'],
      extProc: { path: '/run/x.sock' },
      xds: undefined,
      admin: undefined,
      pool: 'a/b',
    })
    const numbers = parse(
      '--max-held-bytes',
      '1',
      '--max-connection-age',
      '300',
      '--max-streams',
      '1024',
      '--max-connections',
      '1000000',
      '--drain',
      '0',
      '--access-log-service',
      'off',
    )
    expect(numbers).toMatchObject({ maxHeldBytes: 1, maxConnectionAgeMs: 300_000, drainMs: 0, accessLogService: false })
    expect(numbers).toMatchObject({ maxStreams: 1024, maxConnections: 1_000_000 })
    const tls = parse('--tls', 'c,k', '--client-ca', 'ca', '--tls-ca', 'own', '--tls-client', 'x,y')
    expect(tls).toMatchObject({
      tls: { certFile: 'c', keyFile: 'k' },
      clientCaFile: 'ca',
      tlsCaFile: 'own',
      tlsClient: { certFile: 'x', keyFile: 'y' },
    })
    const xds = parse('--xds-tls', 'c,k', '--xds-client-ca', 'ca', '--tls-ca', 'own', '--tls-client', 'x,y')
    expect(xds.xdsTls).toEqual({ certificate: { kind: 'files', certFile: 'c', keyFile: 'k' }, clientCaFile: 'ca' })
  })

  it.each([
    [['--ext-proc', 'nonsense'], '--ext-proc'],
    [['--ext-proc', 'unix:relative'], 'absolute path'],
    [['--ext-proc', `unix:/${'x'.repeat(107)}`], '107 bytes'],
    [['--xds', 'on'], '--xds'],
    [['--admin', 'x:y'], '--admin'],
    [['--advertise', 'host:1'], '--advertise'],
    [['--advertise', 'host', '--xds', 'off'], '--advertise'],
    [['--tls', 'on'], '--tls'],
    [['--tls', 'a,b,c'], '--tls'],
    [['--client-ca', 'ca'], '--client-ca needs --tls'],
    [['--client-ca', 'ca', '--tls', 'self-signed'], '--client-ca needs --tls-client'],
    [['--tls-client', 'a,b', '--tls', 'self-signed'], '--tls-client needs --client-ca'],
    [['--tls-client', 'a'], '--tls-client'],
    [['--tls-ca', 'ca', '--tls', 'self-signed'], '--tls-ca needs --tls CERTFILE'],
    [['--xds-tls', 'self-signed'], '--xds-tls'],
    [['--xds-tls', 'a,b', '--xds', 'off'], '--xds-tls has nothing to encrypt'],
    [['--xds-client-ca', 'ca'], '--xds-client-ca needs --xds-tls'],
    [['--xds-client-ca', 'ca', '--xds-tls', 'a,b'], '--xds-client-ca needs --tls-client'],
    [['--tls-ca', 'ca', '--tls', 'a,b', '--xds', 'off'], 'not with --xds off'],
    [['--pool', 'name'], '--pool'],
    [['--mode-override', 'streamed'], '--mode-override'],
    [['--mode-override', 'buffered'], '--mode-override needs --pool'],
    [['--max-held-bytes', '0'], '--max-held-bytes'],
    [['--max-streams', '0'], '--max-streams'],
    [['--max-streams', '1000001'], '--max-streams'],
    [['--max-connections', '-1'], '--max-connections'],
    [['--max-connections', ''], '--max-connections'],
    [['--max-held-bytes', '1e9'], '--max-held-bytes'],
    [['--max-connection-age', '-1'], '--max-connection-age'],
    [['--drain', ''], '--drain'],
    [['--drain', '99999999999999999999'], '--drain'],
    [['--access-log-service', 'yes'], '--access-log-service'],
    [['--log-level', 'loud'], '--log-level'],
    [['more'], 'more'],
  ])('%j is refused', (args, message) => {
    expect(() => parse(...args)).toThrow(UsageError)
    expect(() => parse(...args)).toThrow(message)
  })

  it('say how Envoys reach us', () => {
    expect(reachableAt(parse(), '0.0.0.0', 1)).toBe('127.0.0.1:1')
    expect(reachableAt(parse(), '10.0.0.1', 1)).toBe('10.0.0.1:1')
    expect(reachableAt(parse('--advertise', '[fd00::1]'), '::', 1)).toBe('[fd00::1]:1')
  })
})

it('who may be told by certificate needs gateways that are known', () => {
  const file = '--explain-clients-file=f'
  expect(() => parse(file, '--xds=off')).toThrow('--explain-clients-file needs --client-ca')
  expect(() => parse(file, '--ext-proc=unix:/s')).toThrow('--explain-clients-file is for gateways')
  expect(parse(file, '--xds=off', '--ext-proc=unix:/s').records.explainClientsFile).toBe('f')
  expect(parse(file, '--xds=off', '--tls=self-signed', '--client-ca=ca').clientCaFile).toBe('ca')
})

describe('threads', () => {
  it('are a number, and their ports and sockets must fit', () => {
    expect(parse('--threads=3', '--transport=own')).toMatchObject({ threads: 3, transport: 'own' })
    for (const bad of ['0', '257', 'x', '1.5']) expect(() => parse(`--threads=${bad}`)).toThrow('--threads')
    expect(() => parse('--transport=grpc')).toThrow('neither own nor node')
    const verified = ['--trust=verified', '--tls=self-signed', '--client-ca=ca', '--xds=off']
    expect(parse(...verified)).toMatchObject({ trust: 'verified' })
    expect(() => parse('--trust=verified')).toThrow('--trust verified needs --client-ca')
    expect(() => parse('--trust=some')).toThrow('neither all nor verified')
    expect(() => parse('--trust=verified', '--transport=node')).toThrow('--trust verified needs --transport own')
    expect(() => parse('--threads=2', '--ext-proc=65534')).toThrow('no ports for 2 threads')
    expect(parse('--threads=2', '--ext-proc=65533').extProc).toMatchObject({ port: 65_533 })
    // Thread i listens at port + 1 + i.
    expect(() => parse('--threads=88')).toThrow('--admin: port 9090 is that of thread 88')
    expect(() => parse('--threads=2', '--ext-proc=0.0.0.0:17998')).toThrow('--xds: port 18000 is that of thread 2')
    expect(parse('--threads=87').threads).toBe(87)
    expect(parse('--threads=88', '--xds=off').threads).toBe(88)
    expect(parse('--threads=88', '--ext-proc=127.0.0.2:9002').threads).toBe(88)
    // Foreign gateways share the port.
    expect(parse('--threads=2', '--ext-proc=65535', '--xds=off').extProc).toMatchObject({ port: 65_535 })
    const path = `/${'s'.repeat(106)}`
    expect(parse('--threads=1', `--ext-proc=unix:${path}`).extProc).toEqual({ path })
    expect(() => parse('--threads=2', `--ext-proc=unix:${path}`)).toThrow('more than 107 bytes')
  })
})

describe('--peers', () => {
  const peers = (...args: string[]) => parse(...args).peers
  it('reads lists and names', () => {
    expect(peers('--peers', 'a:1,[::1]:2', '--peer-listen', '0.0.0.0:9005')).toEqual({
      places: { kind: 'list', addresses: ['a:1', '[::1]:2'] },
      listen: { host: '0.0.0.0', port: 9005 },
      tls: undefined,
    })
    expect(peers('--peers=dns:peers.ns.svc:9005', '--peer-listen=9005', '--peer-tls=c,k,a')).toEqual({
      places: { kind: 'dns', name: 'peers.ns.svc', port: 9005 },
      listen: { host: '127.0.0.1', port: 9005 },
      tls: { certFile: 'c', keyFile: 'k', caFile: 'a' },
    })
  })

  it.each([
    [['--peers=dns:a:9005,b:1', '--peer-listen=1'], '--peers: dns:NAME:PORT stands alone'],
    [['--peers=b:1,dns:a:9005', '--peer-listen=1'], '--peers: dns:NAME:PORT stands alone'],
    [['--peers=a:1'], '--peers needs --peer-listen'],
    [['--peer-listen=9005'], '--peer-listen needs --peers'],
    [['--peer-tls=a,b,c'], '--peer-tls needs --peers'],
    [['--peers=a', '--peer-listen=1'], "--peers: 'a' is not host:port"],
    [['--peers=a:1,', '--peer-listen=1'], "--peers: '' is not host:port"],
    [['--peers=dns:1.2.3.4:5', '--peer-listen=1'], "'1.2.3.4' is an address"],
    [['--peers=dns:name', '--peer-listen=1'], "'name' is not host:port"],
    [['--peers=a:1', '--peer-listen=1', '--peer-tls=a,b'], 'is not CERTFILE,KEYFILE,CAFILE'],
  ])('%j: %s', (args, message) => {
    expect(() => peers(...args)).toThrow(message)
  })
})
