import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { createFilter, createPluginScorer, pluginType } from './registry.ts'
import { loadUserPlugins, UserPluginError } from './user-plugins.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signalbox-plugins-'))
})
afterAll(() => rm(folder, { recursive: true }))

let files = 0
async function module(text: string): Promise<string> {
  const file = join(folder, `${++files}.mjs`)
  await writeFile(file, text)
  return file
}

describe('plug-ins of the user', () => {
  it('are there by their names, with their parameters checked', async () => {
    const file = await module(`export const plugins = ({ scorer, filter, z }) => [
      scorer('half-scorer', { share: z.number().default(0.5) }, ({ share }) => ({ score: (_c, _t, out) => out.fill(share) })),
      filter('nobody-filter', {}, () => ({ filter: (_c, _t, kept) => kept.fill(0) })),
    ]`)
    await loadUserPlugins([file])
    const out = new Float64Array(2)
    const scorer = createPluginScorer({ type: 'half-scorer', parameters: {} })
    expect(scorer.type).toBe('half-scorer')
    scorer.score(undefined as never, undefined as never, out)
    expect([...out]).toEqual([0.5, 0.5])
    const kept = Uint8Array.of(1, 1)
    createFilter({ type: 'nobody-filter', parameters: {} }).filter(undefined as never, undefined as never, kept)
    expect([...kept]).toEqual([0, 0])
    expect(pluginType('half-scorer')!.parameters.safeParse({ shares: 1 }).success).toBe(false)
    expect(() => createPluginScorer({ type: 'half-scorer', parameters: { share: 'x' } })).toThrow(/number/)
    // Once is enough.
    await loadUserPlugins([file, file])
  })

  it.each([
    ['export const x = 1', 'must export a function "plugins" that returns a list'],
    ['export const plugins = k => [k.scorer("a-b")]', 'scorer("a-b", fields, create): the fields are missing'],
    ['export const plugins = k => [k.filter("a-b", {})]', 'filter("a-b", fields, create): create is missing'],
    ['export const plugins = () => 7', 'must export a function "plugins" that returns a list'],
    ['export const plugins = []', 'plugins is not a function'],
    ['throw new Error("broken at once")', 'broken at once'],
    ['export const plugins = () => [3]', 'make it with the kit'],
    ['export const plugins = () => [{ type: "Big", role: "scorer" }]', '"Big" is no name'],
    ['export const plugins = () => [{ type: "odd", role: "king" }]', 'has the role "king"'],
    ['export const plugins = () => [{ type: "odd", role: "scorer" }]', 'has no schema'],
    ['export const plugins = k => [k.scorer("queue-scorer", {}, () => ({}))]', '"queue-scorer" exists already'],
  ])('%s is refused: %s', async (text, message) => {
    const file = await module(text)
    const error = await loadUserPlugins([file]).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(UserPluginError)
    expect((error as Error).message).toContain(message)
    expect((error as Error).message).toContain(file)
  })

  it('of a file that is not there is refused', async () => {
    await expect(loadUserPlugins([join(folder, 'none.mjs')])).rejects.toThrow(/none\.mjs: there is no such file$/)
    await expect(loadUserPlugins([folder])).rejects.toThrow(/: is no file$/)
  })
})
