import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from '@jest/globals'

const ROOT = join(import.meta.dirname, '..', '..')

/** Each line's paths, and names of files that stand in the folder of a path before them. */
function missingIn(text: string): readonly string[] {
  const missing: string[] = []
  let folder = ''
  for (const [, path] of text.matchAll(/`([\w/.-]+\.ts|(?:src|test)\/[\w/-]+)`/g)) {
    const full = path!.includes('/') ? path! : `${folder}/${path}`
    if (!existsSync(join(ROOT, full))) missing.push(full)
    if (path!.includes('/')) folder = path!.endsWith('.ts') ? dirname(path!) : path!
  }
  return missing
}

it('docs/tests.md names files that there are', () => {
  expect(missingIn('`src/grpc/suite/calls.ts`, `flow.ts`; `nobody.ts`, `src/grpc/none`')).toEqual([
    'src/grpc/suite/nobody.ts',
    'src/grpc/none',
  ])
  expect(missingIn(readFileSync(join(ROOT, 'docs', 'tests.md'), 'utf8'))).toEqual([])
})

it('docs/tests.md names commands that there are', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object }
  const named = [...readFileSync(join(ROOT, 'docs', 'tests.md'), 'utf8').matchAll(/npm run ([\w:]+)/g)]
  expect(named.length).toBeGreaterThan(10)
  expect(named.map(([, name]) => name).filter(name => !Object.hasOwn(scripts, name!))).toEqual([])
})
