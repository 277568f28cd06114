import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { FileSource } from './file-source.ts'
import { loadFiles } from './load-files.ts'
import type { ObjectSet } from './object-set.ts'

const pool = (name: string) =>
  `kind: InferencePool\napiVersion: inference.networking.k8s.io/v1\nmetadata: {name: ${name}}\nspec: {selector: {matchLabels: {a: b}}, targetPorts: [{number: 1}]}\n`

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signalbox-files-'))
})
afterEach(() => rm(folder, { recursive: true }))

const namesOf = (set: ObjectSet) =>
  set.items.map(item => (item.kind === 'EnvoyResource' ? item.name : item.metadata.name))

describe('loadFiles', () => {
  it('reads the configuration files of a folder, each once, in order', async () => {
    await writeFile(join(folder, 'b.yml'), pool('b'))
    await writeFile(join(folder, 'a.yaml'), pool('a'))
    await writeFile(join(folder, 'c.json'), JSON.stringify({ kind: 'Pod', apiVersion: 'v1' }))
    await writeFile(join(folder, '.hidden.yaml'), 'x')
    await writeFile(join(folder, 'readme.md'), 'x')
    await mkdir(join(folder, 'sub'))
    const set = await loadFiles([folder, join(folder, 'a.yaml')])
    expect(set.errors).toEqual([])
    expect(namesOf(set)).toEqual(['a', 'b'])
  })

  it('says what can not be read', async () => {
    await writeFile(join(folder, 'latin1.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]))
    await writeFile(join(folder, 'huge.yaml'), Buffer.alloc(9 * 1024 * 1024, 0x20))
    await mkdir(join(folder, 'folder.yaml'))
    await mkdir(join(folder, 'empty'))
    const set = await loadFiles([folder, join(folder, 'missing.yaml'), join(folder, 'empty')])
    expect(set.errors.map(error => error.code).sort()).toEqual([
      'empty-folder',
      'encoding',
      'too-large',
      'unreadable',
      'unreadable',
    ])
  })
})

describe('FileSource', () => {
  const sets: ObjectSet[] = []
  let waiting: (() => void) | undefined
  let source: FileSource | undefined

  beforeEach(() => {
    sets.length = 0
  })
  afterEach(() => source?.stop())

  async function follow(path: string): Promise<void> {
    source = new FileSource(
      [path],
      set => {
        sets.push(set)
        waiting?.()
      },
      { debounceMs: 20, pollMs: 50 },
    )
    await source.start()
  }

  /** Waits until a set for which `good` holds was reported. */
  async function until(good: (set: ObjectSet) => boolean): Promise<void> {
    while (!sets.some(good)) await new Promise<void>(resolve => (waiting = resolve))
  }

  const has =
    (...names: string[]) =>
    (set: ObjectSet) =>
      set.errors.length === 0 && namesOf(set).join() === names.join()

  it('reports the first set, changed, new and removed files of a folder', async () => {
    await writeFile(join(folder, 'a.yaml'), pool('a'))
    await follow(folder)
    expect(sets).toHaveLength(1)
    await writeFile(join(folder, 'b.yaml'), pool('b'))
    await until(has('a', 'b'))
    await rm(join(folder, 'a.yaml'))
    await until(has('b'))
    await writeFile(join(folder, 'b.yaml'), pool('b2'))
    await until(has('b2'))
  })

  it('sees a file replaced by renaming, again and again', async () => {
    const file = join(folder, 'a.yaml')
    await writeFile(file, pool('v0'))
    await follow(file)
    for (let i = 1; i <= 3; i++) {
      await writeFile(`${file}.tmp`, pool(`v${i}`))
      await rename(`${file}.tmp`, file)
      await until(has(`v${i}`))
    }
  })

  it('reads a changed file of a folder that something else writes to all the time', async () => {
    const file = join(folder, 'a.yaml')
    await writeFile(file, pool('a'))
    await follow(file)
    let lines = 0
    const noise = setInterval(() => void writeFile(join(folder, 'access.log'), `line ${lines++}`), 5)
    try {
      await writeFile(file, pool('b'))
      await until(has('b'))
      await writeFile(file, pool('c'))
      await until(has('c'))
    } finally {
      clearInterval(noise)
    }
  })

  it('sees the swapped link of a mounted ConfigMap, for the folder and for one file of it', async () => {
    const mount = async (version: string) => {
      await mkdir(join(folder, version))
      await writeFile(join(folder, version, 'a.yaml'), pool(version))
      await symlink(version, join(folder, '..data_tmp'))
      await rename(join(folder, '..data_tmp'), join(folder, '..data'))
    }
    await mount('..v1')
    await symlink('..data/a.yaml', join(folder, 'a.yaml'))
    for (const path of [folder, join(folder, 'a.yaml')]) {
      sets.length = 0
      await follow(path)
      const next = `..v${path === folder ? 2 : 3}`
      // The name isn't valid for an object, which is an error that says so.
      await mount(next)
      await until(set => set.errors.some(error => error.object === `InferencePool default/${next}`))
      await source!.stop()
    }
  })

  it('reports errors whole, and the good set that follows', async () => {
    const file = join(folder, 'a.yaml')
    await writeFile(file, pool('a'))
    await follow(file)
    await writeFile(file, 'kind: [\n')
    await until(set => set.errors.some(error => error.code === 'yaml'))
    await rm(file)
    await until(set => set.errors.some(error => error.code === 'unreadable'))
    await writeFile(file, pool('again'))
    await until(has('again'))
  })

  it('follows a folder that is removed and comes back', async () => {
    const inner = join(folder, 'conf')
    await mkdir(inner)
    await writeFile(join(inner, 'a.yaml'), pool('a'))
    await follow(inner)
    await rm(inner, { recursive: true })
    await until(set => set.errors.length > 0)
    await mkdir(inner)
    await writeFile(join(inner, 'a.yaml'), pool('b'))
    await until(has('b'))
    await writeFile(join(inner, 'a.yaml'), pool('c'))
    await until(has('c'))
  })

  it('reports nothing after stop, and the same texts once', async () => {
    const file = join(folder, 'a.yaml')
    await writeFile(file, pool('a'))
    await follow(file)
    await writeFile(file, pool('a'))
    await writeFile(join(folder, 'other.txt'), 'x')
    await new Promise(resolve => setTimeout(resolve, 150))
    expect(sets).toHaveLength(1)
    await source!.stop()
    await writeFile(file, pool('b'))
    await new Promise(resolve => setTimeout(resolve, 150))
    expect(sets).toHaveLength(1)
  })
})
