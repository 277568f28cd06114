import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { parse } from 'yaml'
import { documents, GATEWAY, poolYaml, routeYaml } from '../../test/support/pool-config.ts'
import { makeTempFolder, type TempFolder } from '../../test/support/temp-folder.ts'
import { selfSigned } from '../grpc/self-signed.ts'
import { bootstrapCommand } from './bootstrap.ts'
import { type Command, UsageError } from './command.ts'
import { compileCommand } from './compile.ts'
import { demoCommand } from './demo/demo-command.ts'
import { envoyCommand } from './envoy/envoy-command.ts'
import { serveCommand } from './serve/serve-command.ts'
import { StartError } from './serve/start-error.ts'
import { replayCommand } from './replay.ts'
import { simCommand } from './sim.ts'
import { validateCommand } from './validate.ts'

const PROGRAM = join(import.meta.dirname, '..', '..', 'bin', 'signalbox')

interface Outcome {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

/** Runs `bin/signalbox` to its end. */
async function spawned(...args: string[]): Promise<Outcome> {
  const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', status => resolve({ status, out, err }))
  })
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: serveCommand,
  demo: demoCommand,
  replay: replayCommand,
  sim: simCommand,
  validate: validateCommand,
  compile: compileCommand,
  bootstrap: bootstrapCommand,
  envoy: envoyCommand,
}

/** The same in this process, which is ten times faster. A usage error is the status that `main` makes of it. */
async function run(name: string, ...args: string[]): Promise<Outcome> {
  let [out, err] = ['', '']
  const sink = (take: (text: string) => void) =>
    new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        take(chunk.toString())
        done()
      },
    })
  const io = {
    stdout: sink(text => (out += text)),
    stderr: sink(text => (err += text)),
    signal: name === 'serve' ? new AbortController().signal : AbortSignal.abort(),
  }
  try {
    return { status: await COMMANDS[name]!.run(args, io), out, err }
  } catch (error) {
    if (error instanceof StartError) return { status: 1, out, err: error.message }
    if (!(error instanceof UsageError)) throw error
    return { status: 2, out, err: error.message }
  }
}

let folder: TempFolder
/** A good configuration, and one with errors in three documents. */
let good: string
let bad: string

beforeAll(async () => {
  folder = await makeTempFolder()
  good = join(folder.path, 'good.yaml')
  bad = join(folder.path, 'bad.yaml')
  const config = documents(
    GATEWAY.replace('@PORT@', '8080'),
    poolYaml({ addresses: ['10.0.0.1:8000'] }),
    routeYaml({ models: { m: 'pool' } }),
  )
  await writeFile(good, config)
  await writeFile(
    bad,
    `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gateway }
spec:
  gatewayClassName: signalbox
  listeners: [{ name: http, port: 123456, protocol: HTTP }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoutes
metadata: { name: route }
---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: backend }
spec:
  endpoints: [{ adress: 10.0.0.1, port: 80 }]
`,
  )
})

afterAll(() => folder.remove())

describe('the program', () => {
  it('names every command, and says what is wrong', async () => {
    const [help, nothing, unknown, inherited, misspelt, version, usage] = await Promise.all([
      spawned('--help'),
      spawned(),
      spawned('nope'),
      spawned('constructor'),
      spawned('vaildate'),
      spawned('--version'),
      spawned('serve', '--config', 'x', '--ext-proc', 'nonsense'),
    ])
    for (const command of Object.keys(COMMANDS)) expect(help.out).toMatch(new RegExp(`^ {2}${command} +\\S`, 'm'))
    expect([help.status, nothing.status, nothing.out, nothing.err]).toEqual([0, 2, '', help.out])
    expect(unknown).toEqual({
      status: 2,
      out: '',
      err: "signalbox: there is no command 'nope'; see 'signalbox --help'\n",
    })
    expect(inherited.status).toBe(2)
    expect(misspelt.err).toContain('did you mean "validate"?')
    expect([version.status, version.err]).toEqual([0, ''])
    expect(version.out).toMatch(/^signalbox \d+\.\d+\.\d+ \(Node\.js v24\./)
    expect(usage).toEqual({ status: 2, out: '', err: "signalbox: --ext-proc: 'nonsense' is not host:port\n" })
  })

  it("flags without a command are the endpoint picker's, as its image alone is changed", async () => {
    const outcomes = await Promise.all([
      spawned('--pool-namespace', 'models', '-v=4'),
      spawned('-pool-name', 'llm', '--grpc-port', '9002', '--no-such-flag'),
      spawned('--pool-name', 'llm', '--help'),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual([2, 2, 0])
    expect(outcomes[0].err).toContain('--pool-name or --endpoint-selector is missing')
    expect(outcomes[1].err).toContain('no-such-flag')
    expect(outcomes[2].out).toMatch(/^Usage: signalbox epp /)
  })

  it('ends soon when it is told to while it starts', async () => {
    const free = ['--ext-proc', '127.0.0.1:0', '--xds', '127.0.0.1:0', '--admin', 'off', '--log-level', 'silent']
    // So many threads take far longer to start than one to end.
    const { status, err } = await new Promise<Outcome>((resolve, reject) => {
      const child = spawn(PROGRAM, ['serve', '--config', good, '--threads', '32', ...free], {
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: 60_000,
        killSignal: 'SIGKILL',
      })
      let err = ''
      child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
      child.once('error', reject)
      setTimeout(() => child.kill('SIGTERM'), 1500)
      child.once('close', (code, signal) => resolve({ status: signal === 'SIGTERM' ? 0 : code, out: '', err }))
    })
    expect([status, err]).toEqual([0, ''])
  })

  it('tells the errors of a refused configuration once, whether it logs or not', async () => {
    const free = ['--ext-proc', '127.0.0.1:0', '--xds', 'off', '--admin', 'off']
    const quiet = await spawned('serve', '--config', bad, ...free, '--log-level', 'silent')
    const loud = await spawned('serve', '--config', bad, ...free)
    expect([quiet.status, quiet.out, loud.status]).toEqual([1, '', 1])
    expect(quiet.err).toMatch(/^signalbox: the configuration is refused:\n/)
    for (const { out, err } of [quiet, loud])
      for (const line of [6, 9, 16])
        expect(new Set((out + err).match(new RegExp(`${bad}:${line}:.*`, 'g')))).toEqual(
          new Set(quiet.err.match(new RegExp(`${bad}:${line}:.*`, 'g'))),
        )
    expect((loud.out + loud.err).match(/bad\.yaml:6:/g)).toHaveLength(1)
  })

  it('has help for each command', async () => {
    const helps = await Promise.all(Object.keys(COMMANDS).map(name => spawned(name, '--help')))
    for (const [i, name] of Object.keys(COMMANDS).entries()) {
      expect(helps[i]).toEqual({ status: 0, out: COMMANDS[name]!.help, err: '' })
      expect(helps[i]!.out).toContain(`Usage: signalbox ${name}`)
    }
  })
})

describe('wrong usage', () => {
  it.each([
    [['serve'], '--config is missing'],
    [['serve', '--config', 'x', 'y'], "'y'"],
    [['validate'], 'name files'],
    [['compile'], 'name files'],
    [['compile', '--ext-proc', 'nonsense', 'x'], "--ext-proc: 'nonsense'"],
    [['compile', '--part', 'constructor', 'x'], "--part: 'constructor'"],
    [['bootstrap', '--xds', 'nonsense'], "--xds: 'nonsense'"],
    [['bootstrap', '--admin', '1.2.3.4:0'], "--admin: '1.2.3.4:0'"],
    [['bootstrap', '--node', ''], '--node'],
    [['envoy', '--version', '0.1'], '--version is one of'],
    [['serve', '--confg', 'x'], 'there is no option --confg (did you mean "--config"?)'],
    [['serve', '-c', 'x'], 'there is no option -c'],
    [['sim', '--nope'], '--nope'],
    [['demo', '--nope'], '--nope'],
  ])('%j is exit status 2 and says why', async ([name, ...args], message) => {
    const { status, out, err } = await run(name!, ...args)
    expect([status, out]).toEqual([2, ''])
    expect(err).toContain(message)
  })
})

describe('bootstrap', () => {
  it('speaks TLS, verified by the authority that it carries', async () => {
    const { cert } = selfSigned(['signalbox.test'])
    const ca = join(folder.path, 'ca.crt')
    await writeFile(ca, cert)
    const { status, out } = await run('bootstrap', '--xds', 'signalbox.test:1', '--tls-ca', ca, '--tls-client', '/c,/k')
    expect(status).toBe(0)
    const { typedConfig } = (
      JSON.parse(out) as { staticResources: { clusters: { transportSocket: { typedConfig: unknown } }[] } }
    ).staticResources.clusters[0]!.transportSocket
    expect(typedConfig).toMatchObject({
      sni: 'signalbox.test',
      commonTlsContext: {
        validationContext: {
          trustedCa: { inlineString: cert },
          matchTypedSubjectAltNames: [{ sanType: 'DNS', matcher: { exact: 'signalbox.test' } }],
        },
        tlsCertificates: [{ certificateChain: { filename: '/c' }, privateKey: { filename: '/k' } }],
      },
    })
  })

  it.each([
    [['--tls-client', 'a,b'], '--tls-client needs --tls-ca'],
    [['--tls-client', 'a'], "--tls-client: 'a'"],
    [['--tls-ca', '/nowhere'], '--tls-ca: there is no file /nowhere'],
    [['--tls-ca', PROGRAM], '--tls-ca:'],
  ])('%j is refused', async (args, message) => {
    const { status, err } = await run('bootstrap', ...args)
    expect([status, err]).toEqual([2, expect.stringContaining(message)])
  })
})

describe('validate', () => {
  it('says that a good configuration is one', async () => {
    const { status, out } = await run('validate', good)
    expect(status).toBe(0)
    expect(out).toMatch(/^4 objects, 0 errors, \d warnings\n$/)
  })

  it('tells all errors with file, line and path', async () => {
    const { status, out } = await run('validate', bad, good)
    expect(status).toBe(1)
    expect(out).toContain(`${bad}:6:`)
    expect(out).toContain(`${bad}:9:`)
    expect(out).toContain(`${bad}:16:`)
    expect(out).toContain('spec.listeners[0].port')
    expect(out).toMatch(/did you mean "?HTTPRoute"?/)
    expect(out).toMatch(/did you mean "?address"?/)
  })

  it('counts bad objects, and tells errors of the whole beside them', async () => {
    const conflict = join(folder.path, 'conflict.yaml')
    await writeFile(conflict, GATEWAY.replace('@PORT@', '8080').replace('name: gateway', 'name: other'))
    const { out } = await run('validate', bad, good, conflict)
    expect(out).toMatch(/conflict\.yaml:\d+:\d+: error: .*\(port-conflict\)/)
    expect(out).toMatch(/^8 objects, 5 errors, 0 warnings\n$/m)
  })

  it('tells of a bad module with plug-ins in one line', async () => {
    const broken = join(folder.path, 'syntax.ts')
    await writeFile(broken, '\n\nexport const plugins = (\n')
    for (const [file, message] of [
      ['nosuch.ts', 'nosuch.ts: there is no such file'],
      [broken, `${broken}: `],
    ] as const) {
      const { status, out, err } = await spawned('validate', '--plugins', file, good)
      expect([status, out]).toEqual([1, ''])
      expect(err).toMatch(/^signalbox: --plugins: [^\n]+\n$/)
      expect(err).toContain(message)
    }
    expect(await run('compile', '--plugins', 'nosuch.ts', good)).toMatchObject({ status: 1, out: '' })
  })

  it('quotes little of what is no YAML', async () => {
    const { status, out } = await run('validate', join(import.meta.dirname, '..', '..', 'README.md'))
    expect(status).toBe(1)
    for (const line of out.split('\n')) expect(line.length).toBeLessThan(400)
  })

  it('tells what is missing', async () => {
    const { status, out } = await run('validate', join(folder.path, 'missing.yaml'))
    expect(status).toBe(1)
    expect(out).toContain('missing.yaml: error: no such file or folder')
  })
})

describe('compile', () => {
  it('prints no private key unless it is told to', async () => {
    const { cert, key } = selfSigned(['a.test'])
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'kubernetes.io/tls',
      metadata: { name: 'tls' },
      stringData: { 'tls.crt': cert, 'tls.key': key },
    }
    const gateway = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'g' },
      spec: {
        gatewayClassName: 'signalbox',
        listeners: [{ name: 'https', port: 443, protocol: 'HTTPS', tls: { certificateRefs: [{ name: 'tls' }] } }],
      },
    }
    const file = join(folder.path, 'tls.yaml')
    await writeFile(file, [secret, gateway].map(object => JSON.stringify(object)).join('\n---\n'))
    const shown = await run('compile', file)
    expect([shown.status, shown.err]).toEqual([0, ''])
    expect(shown.out).toContain('BEGIN CERTIFICATE')
    expect(shown.out).not.toContain('PRIVATE KEY')
    expect((await run('compile', '--secrets', file)).out).toContain('PRIVATE KEY')
  })

  it('prints what Envoy gets, the plan and the statuses, or one of them', async () => {
    const { status, out } = await run('compile', '--ext-proc', '[::1]:9', good)
    expect(status).toBe(0)
    const whole = parse(out) as Record<string, unknown>
    expect(Object.keys(whole)).toEqual(['envoy', 'plan', 'statuses'])
    expect(out).toContain('address: ::1')
    const part = parse((await run('compile', '--part', 'plan', good)).out) as { pools: { name: string }[] }
    expect(part.pools.map(({ name }) => name)).toEqual(['default/pool'])
  })

  it('prints errors instead of half a result', async () => {
    const { status, out, err } = await run('compile', bad)
    expect([status, out]).toEqual([1, ''])
    expect(err).toContain(`${bad}:6:`)
  })
})

describe('replay', () => {
  it('refuses what is no trace', async () => {
    const garbage = join(folder.path, 'garbage')
    await writeFile(garbage, 'no\ntrace\n')
    const { status, out, err } = await run('replay', garbage, '--config', good)
    expect([status, out]).toEqual([1, ''])
    expect(err).toBe(`signalbox: replay: no line of ${garbage} is a traced decision\n`)
    const missing = await run('replay', '/no/such', '--config', good)
    expect([missing.status, missing.err]).toEqual([2, 'replay: /no/such: there is no file /no/such'])
  })
})

it('bootstrap prints what it was told', async () => {
  const { status, out } = await run(
    'bootstrap',
    '--xds',
    'signalbox.example:18000',
    '--node',
    'n',
    '--admin',
    '[::1]:9901',
  )
  expect(status).toBe(0)
  expect(JSON.parse(out)).toMatchObject({
    node: { id: 'n', cluster: 'signalbox' },
    admin: { address: { socketAddress: { address: '::1', portValue: 9901 } } },
    staticResources: { clusters: [{ type: 'STRICT_DNS' }] },
  })
})

describe('serve refuses to start', () => {
  const FREE = ['--ext-proc', '127.0.0.1:0', '--xds', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--log-level', 'silent']
  let taken: Server
  let port: number

  beforeAll(async () => {
    taken = createServer()
    await new Promise<void>(resolve => taken.listen(0, '127.0.0.1', resolve))
    port = (taken.address() as { port: number }).port
  })

  afterAll(async () => {
    await new Promise(resolve => taken.close(resolve))
  })

  async function refused(...args: string[]): Promise<string> {
    const { status, out, err } = await run('serve', ...FREE, ...args)
    expect([status, out]).toEqual([1, ''])
    expect(err).not.toContain('    at ')
    return err
  }

  it('with a pool that nobody wrote', async () => {
    expect(await refused('--config', good, '--pool', 'default/nope')).toContain(
      '--pool default/nope: no such InferencePool; there is default/pool',
    )
  })

  it('with a port in use: that of a thread, which nobody named', async () => {
    const err = await refused('--config', good, '--ext-proc', `127.0.0.1:${port - 1}`, '--threads', '2')
    expect(err).toMatch(/ is in use/)
    // The port before may be in use as well.
    if (err.includes(`:${port} `))
      expect(err).toContain(`127.0.0.1:${port} is in use: thread 1 has this port of its own`)
  })

  it('with a port in use: that of --peer-listen', async () => {
    const peers = ['--peers', '127.0.0.1:1', '--peer-listen', `127.0.0.1:${port}`]
    expect(await refused('--config', good, ...peers)).toContain(`127.0.0.1:${port} is in use\n`)
    const sim = await run('sim', '--port', String(port))
    expect([sim.status, sim.err]).toEqual([1, `signalbox sim: 127.0.0.1:${port} is in use\n`])
  })

  it('with a trace in a folder that does not exist', async () => {
    const { status, err } = await run('serve', ...FREE, '--config', good, '--trace-file', '/no/such/trace')
    expect([status, err]).toEqual([2, '--trace-file: the folder of /no/such/trace does not exist'])
  })

  it.each(['--ext-proc', '--xds', '--admin'])('with a port in use: %s', async option => {
    const err = await refused('--config', good, option, `127.0.0.1:${port}`)
    expect(err).toContain(`signalbox: ${option}: `)
    expect(err).toContain(`127.0.0.1:${port} is in use\n`)
  })

  it('with files that are not what they should be', async () => {
    const { cert } = selfSigned(['localhost'])
    const other = selfSigned(['localhost'])
    const path = (name: string) => join(folder.path, name)
    await writeFile(path('cert.pem'), cert)
    await writeFile(path('other.pem'), other.key)
    expect(await refused('--config', good, '--descriptors', good)).toContain('--descriptors: ')
    expect(await refused('--config', good, '--tls', `${good},${good}`)).toContain('--tls')
    expect(await refused('--config', good, '--tls', `${path('cert.pem')},${path('other.pem')}`)).toContain('--tls')
    expect(await refused('--config', good, '--tls', `${path('none')},${path('none')}`)).toContain('there is no file')
    expect(await refused('--config', good, '--tls', 'a,b', '--tls-ca', good)).toContain('--tls-ca: ')
  })
})
