import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { afterEach, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { makeTempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

/** One listener on a free port that answers everything by itself and writes an access log to standard output. */
function answering(status: number): JsonObject {
  const manager = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    statPrefix: 'front',
    accessLog: [
      {
        name: 'stdout',
        typedConfig: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog',
          logFormat: { textFormatSource: { inlineString: 'LOGGED %RESPONSE_CODE%\n' } },
        },
      },
    ],
    routeConfig: {
      virtualHosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, directResponse: { status } }] }],
    },
    httpFilters: [
      {
        name: 'envoy.filters.http.router',
        typedConfig: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    ],
  }
  const listener = {
    name: 'front',
    address: { socketAddress: { address: '127.0.0.1', portValue: 0 } },
    filterChains: [{ filters: [{ name: 'http', typedConfig: manager }] }],
  }
  return { staticResources: { listeners: [listener] } }
}

/** A zombie that its new parent hasn't collected yet is not alive. */
async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && !/\) Z /.test(stat)
}

/** Bootstraps in all temporary folders of Envoys, also of other suites. */
async function bootstraps(): Promise<string> {
  const folders = (await readdir(tmpdir())).filter(name => name.startsWith('signalbox-envoy-'))
  const texts = folders.map(name => readFile(join(tmpdir(), name, 'bootstrap.json'), 'utf8').catch(() => ''))
  return (await Promise.all(texts)).join('\n')
}

describeOnEnvoy('Envoy as a child process', ({ path: binary, version }) => {
  let envoy: EnvoyProcess | undefined
  afterEach(async () => {
    await envoy?.stop()
    envoy = undefined
  })

  it('starts, serves, tells its ports and statistics, and stops without leftovers', async () => {
    envoy = await startEnvoy({ binary, bootstrap: answering(204), concurrency: 1 })
    await envoy.ready()
    const port = await envoy.admin.listenerPort('front')
    expect((await sendHttp1({ port })).status).toBe(204)
    const stats = await envoy.admin.stats('^http.front.downstream_rq_(2xx|5xx)$')
    expect(stats).toEqual({ 'http.front.downstream_rq_2xx': 1, 'http.front.downstream_rq_5xx': 0 })
    expect(await envoy.admin.get('/server_info')).toContain(version)
    await expect(envoy.admin.get('/nothing-here')).rejects.toThrow('404')

    const { pid } = envoy
    const folder = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0')[2]!.replace(/\/[^/]*$/, '')
    expect(existsSync(folder)).toBe(true)
    expect(await envoy.stop()).toEqual({ code: 0, signal: null })
    expect(await envoy.stop()).toEqual({ code: 0, signal: null })
    expect(await isAlive(pid)).toBe(false)
    expect(existsSync(folder)).toBe(false)
    // Still there after the end, and with what Envoy wrote to /dev/stdout.
    expect(await envoy.log()).toContain('LOGGED 204')
  })

  it('runs several at once', async () => {
    const two = await Promise.all([200, 201].map(status => startEnvoy({ binary, bootstrap: answering(status) })))
    try {
      await Promise.all(two.map(one => one.ready()))
      const ports = await Promise.all(two.map(one => one.admin.listenerPort('front')))
      const answers = await Promise.all(ports.map(port => sendHttp1({ port })))
      expect(answers.map(answer => answer.status)).toEqual([200, 201])
    } finally {
      await Promise.all(two.map(one => one.stop()))
    }
  })

  it('writes its log where it was told to', async () => {
    const temp = await makeTempFolder()
    const logPath = join(temp.path, 'envoy.log')
    envoy = await startEnvoy({ binary, bootstrap: answering(200), logLevel: 'info', logPath })
    await envoy.ready()
    await envoy.stop()
    expect(await readFile(logPath, 'utf8')).toContain('starting main dispatch loop')
    await temp.remove()
  })

  it('says why a configuration is refused', async () => {
    const bad = { staticResources: { clusters: [{ name: 'c', loadAssignment: {}, nonsense: 1 }] } }
    const error: unknown = await startEnvoy({ binary, bootstrap: bad }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'ENVOY_EXITED', message: expect.stringContaining('nonsense') })
    expect(await bootstraps()).not.toContain('nonsense')
  })

  it('says that the binary cannot be started', async () => {
    const error: unknown = await startEnvoy({ binary: '/nowhere/envoy', bootstrap: {} }).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toMatchObject({ code: 'ENVOY_EXITED', message: expect.stringContaining('ENOENT') })
  })

  it('tells who asks about a crash', async () => {
    envoy = await startEnvoy({ binary, bootstrap: answering(200) })
    await envoy.ready()
    process.kill(envoy.pid, 'SIGKILL')
    expect(await envoy.exited).toEqual({ code: null, signal: 'SIGKILL' })
    await expect(envoy.ready()).rejects.toThrow('Envoy ended by SIGKILL')
  })

  it.each(['SIGKILL', 'SIGTERM', 'exit'] as const)('does not outlive us: %s', async how => {
    const temp = await makeTempFolder()
    const script = join(temp.path, 'owner.ts')
    const module = new URL('../../src/cli/envoy/envoy-process.ts', import.meta.url).href
    await writeFile(
      script,
      `import { startEnvoy } from ${JSON.stringify(module)}
const envoy = await startEnvoy(${JSON.stringify({ binary, bootstrap: answering(200) })})
console.log(envoy.pid)
${how === 'exit' ? 'process.exit(0)' : ''}
`,
    )
    const owner = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const pid = await new Promise<number>(resolve => owner.stdout.once('data', text => resolve(Number(text))))
    // It ends at once where the owner does so by itself.
    const folder = await readFile(`/proc/${pid}/cmdline`, 'utf8')
      .then(text => text.split('\0')[2]?.replace(/\/[^/]*$/, ''))
      .catch(() => undefined)
    if (how !== 'exit') owner.kill(how)
    await waitFor('Envoy to end with its owner', async () => !(await isAlive(pid)))
    if (folder !== undefined && folder !== '') await waitFor('the folder to be removed', () => !existsSync(folder))
    await temp.remove()
  })
})
