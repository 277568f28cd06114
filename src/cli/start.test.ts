/** How `bin/signalbox` starts Node: with a compile cache, kept where only its user can write and never missed, and with few arenas of malloc. */
import { spawn } from 'node:child_process'
import { chmod, chown, copyFile, mkdir, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { makeTempFolder, type TempFolder } from '../../test/support/temp-folder.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const NOBODY = 65_534
/** Says what the process had loaded, and where its cache is. */
const WITNESS = `import { getCompileCacheDir } from 'node:module'
process.on('exit', () => {
  const stripper = process.moduleLoadList.some(name => name.includes('amaro'))
  process.stderr.write(JSON.stringify({ stripper, cache: getCompileCacheDir() ?? null, arenas: process.env.MALLOC_ARENA_MAX }))
})
`

interface Start {
  readonly status: number | null
  /** Whether what strips types was loaded. */
  readonly stripper: boolean
  /** Folder of the cache. */
  readonly cache: string | null
  /** Of glibc's malloc, at most. */
  readonly arenas: string
}

let folder: TempFolder
let checkout: string
let checkouts = 0

beforeAll(async () => {
  folder = await makeTempFolder()
  await writeFile(join(folder.path, 'witness.mjs'), WITNESS)
})
afterAll(() => folder.remove())
beforeEach(async () => {
  checkout = join(folder.path, `checkout-${checkouts++}`)
  await mkdir(join(checkout, 'bin'), { recursive: true })
  await mkdir(join(checkout, 'node_modules'))
  await mkdir(join(checkout, 'home'))
  await copyFile(join(ROOT, 'bin', 'signalbox'), join(checkout, 'bin', 'signalbox'))
  await symlink(join(ROOT, 'src'), join(checkout, 'src'))
  for (const name of ['.bin', '@bufbuild'])
    await symlink(join(ROOT, 'node_modules', name), join(checkout, 'node_modules', name))
})

/** Runs `bin/signalbox --version`. Standard error must hold what the witness says and nothing else. */
async function start(env: Readonly<Record<string, string>> = {}): Promise<Start> {
  const child = spawn(join(checkout, 'bin', 'signalbox'), ['--version'], {
    env: {
      PATH: process.env['PATH'],
      HOME: join(checkout, 'home'),
      NODE_OPTIONS: `--import=${join(folder.path, 'witness.mjs')}`,
      ...env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (part: string) => (text += part))
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  return { status, ...(JSON.parse(text) as Omit<Start, 'status'>) }
}

/** Nothing can be kept beside the dependencies. */
async function blockCheckout(): Promise<void> {
  await writeFile(join(checkout, 'node_modules', '.cache'), '')
}

async function mode(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8)
}

describe('the arenas of malloc', () => {
  it('are few, unless the user says otherwise', async () => {
    const { arenas } = await start()
    expect(Number(arenas)).toBeGreaterThanOrEqual(2)
    expect(Number(arenas)).toBeLessThanOrEqual(Math.max(2, cpus().length / 2))
    expect(await start({ MALLOC_ARENA_MAX: '7' })).toMatchObject({ arenas: '7' })
  })
})

describe('the compile cache', () => {
  it('lies beside the dependencies, for its user alone, and spares the second start the stripper', async () => {
    const kept = join(checkout, 'node_modules', '.cache', 'signalbox')
    const first = await start()
    expect(first).toMatchObject({ status: 0, stripper: true, cache: expect.stringContaining(kept) })
    expect(await mode(kept)).toBe('700')
    expect(await start()).toMatchObject({ status: 0, stripper: false, cache: first.cache })
  })

  it('does not grow with further starts', async () => {
    const { cache } = await start()
    const files = await readdir(cache!)
    expect(files).not.toEqual([])
    await start()
    expect((await readdir(cache!)).toSorted()).toEqual(files.toSorted())
  })

  it('is in the home of its user where it cannot lie there', async () => {
    await blockCheckout()
    const kept = join(checkout, 'home', '.cache', 'signalbox')
    expect(await start()).toMatchObject({ status: 0, cache: expect.stringContaining(kept) })
    expect(await start()).toMatchObject({ status: 0, stripper: false })
    expect(await mode(kept)).toBe('700')
    const xdg = join(checkout, 'home', 'xdg')
    expect(await start({ XDG_CACHE_HOME: xdg })).toMatchObject({ status: 0, cache: expect.stringContaining(xdg) })
  })

  it.each([
    ['a home that cannot be', { HOME: '/dev/null' }],
    ['no home', { HOME: '' }],
    ['a relative XDG_CACHE_HOME', { XDG_CACHE_HOME: 'cache' }],
  ])('does without, silently: %s', async (_, env) => {
    await blockCheckout()
    expect(await start(env)).toMatchObject({ status: 0, stripper: true, cache: null })
  })

  it.each([
    ['NODE_DISABLE_COMPILE_CACHE', { NODE_DISABLE_COMPILE_CACHE: '1' }],
    ['an empty NODE_COMPILE_CACHE', { NODE_COMPILE_CACHE: '' }],
  ])('is not kept with %s', async (_, env) => {
    expect(await start(env)).toMatchObject({ status: 0, stripper: true, cache: null })
    expect((await readdir(join(checkout, 'node_modules'))).toSorted()).toEqual(['.bin', '@bufbuild'])
  })

  it("is where the user's NODE_COMPILE_CACHE says", async () => {
    const elsewhere = join(checkout, 'elsewhere')
    expect(await start({ NODE_COMPILE_CACHE: elsewhere })).toMatchObject({
      status: 0,
      cache: expect.stringContaining(elsewhere),
    })
  })

  it('is never where others may write, nor behind a link', async () => {
    await blockCheckout()
    const home = join(checkout, 'home', '.cache')
    await mkdir(join(home, 'signalbox'), { recursive: true, mode: 0o700 })
    expect(await start()).toMatchObject({ status: 0, cache: expect.stringContaining(home) })
    for (const open of [join(home, 'signalbox'), home, join(checkout, 'home')]) {
      const before = (await stat(open)).mode
      for (const bits of [0o777, 0o1777, 0o770]) {
        await chmod(open, bits)
        expect(await start()).toMatchObject({ status: 0, cache: null })
      }
      await chmod(open, before & 0o7777)
    }
    await rm(join(home, 'signalbox'), { recursive: true })
    await mkdir(join(checkout, 'elsewhere'), { mode: 0o700 })
    await symlink(join(checkout, 'elsewhere'), join(home, 'signalbox'))
    expect(await start()).toMatchObject({ status: 0, cache: null })
  }, 120_000)

  it('survives entries that were damaged', async () => {
    const { cache } = await start()
    for (const name of await readdir(cache!)) await writeFile(join(cache!, name), 'this is no entry')
    expect(await start()).toMatchObject({ status: 0, stripper: true, cache })
    expect(await start()).toMatchObject({ status: 0, stripper: false })
  })

  // Only root can give directories away.
  const itAsRoot = process.getuid?.() === 0 ? it : it.skip
  itAsRoot('is never in a directory of somebody else, who could plant code there', async () => {
    await blockCheckout()
    const home = join(checkout, 'home', '.cache')
    await mkdir(join(home, 'signalbox'), { recursive: true })
    await chown(join(home, 'signalbox'), NOBODY, NOBODY)
    expect(await start()).toMatchObject({ status: 0, cache: null })
    await chown(join(home, 'signalbox'), 0, 0)
    await chown(home, NOBODY, NOBODY)
    expect(await start()).toMatchObject({ status: 0, cache: null })
    await chown(home, 0, 0)
    expect(await start()).toMatchObject({ status: 0, cache: expect.stringContaining(home) })
  })
})
