import { readFileSync } from 'node:fs'
import { expect, it } from '@jest/globals'
import { pluginType, pluginTypes } from '../inference/scheduling/plugins/registry.ts'
import { DEPRECATED_TYPES } from './picker-types.ts'

/** `docs/plug-ins.md`: type → the second cell of its row. */
const ROWS = new Map(
  [...readFileSync('docs/plug-ins.md', 'utf8').matchAll(/^\| `([a-z0-9-]+)` \| ([^|]*) \|(?:[^|]*\|)?$/gm)].map(
    ([, type, second]) => [type!, second!] as const,
  ),
)

it('docs/plug-ins.md has every type that there is, with its role', () => {
  const told = Object.fromEntries(pluginTypes().map(type => [type, ROWS.get(type)]))
  expect(told).toEqual(Object.fromEntries(pluginTypes().map(type => [type, pluginType(type)!.role])))
})

it('docs/plug-ins.md says how former names are called now', () => {
  const told = [...DEPRECATED_TYPES.keys()].map(type => [type, ROWS.get(type)?.replaceAll('`', '')])
  expect(told).toEqual([...DEPRECATED_TYPES])
})

it('docs/plug-ins.md has nothing else', () => {
  const known = new Set([...pluginTypes(), ...DEPRECATED_TYPES.keys()])
  expect([...ROWS.keys()].filter(type => !known.has(type))).toEqual([])
})
