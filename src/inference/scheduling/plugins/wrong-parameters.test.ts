import { describe, expect, it } from '@jest/globals'
import { z } from 'zod'
import { pluginType, pluginTypes } from './registry.ts'

/** Values of every JSON type; each field must take some and refuse the others. */
const VALUES: readonly unknown[] = [null, true, -1, 0.5, 1e300, '', 'x'.repeat(5000), [], [null], {}, { wrong: [1] }]

/** Without the checks and defaults that are wrapped around it. */
function unwrapped(schema: unknown): unknown {
  let inner = schema
  while (
    inner instanceof z.ZodPipe ||
    inner instanceof z.ZodDefault ||
    inner instanceof z.ZodPrefault ||
    inner instanceof z.ZodOptional ||
    inner instanceof z.ZodNullable
  )
    inner = inner instanceof z.ZodPipe ? inner.def.in : inner.def.innerType
  return inner
}

function shapeOf(schema: unknown): Readonly<Record<string, unknown>> {
  const inner = unwrapped(schema)
  return inner instanceof z.ZodObject ? inner.shape : {}
}

function fieldsOf(schema: unknown): readonly string[] {
  return Object.keys(shapeOf(schema))
}

const UNKNOWN = 'no such field'

/** Paths of all objects inside of the parameters, with a value that has an unknown field there and nothing else. */
function objectsIn(schema: unknown): { readonly path: readonly PropertyKey[]; readonly value: unknown }[] {
  const inner = unwrapped(schema)
  if (inner instanceof z.ZodArray)
    return objectsIn(inner.def.element).map(({ path, value }) => ({ path: [0, ...path], value: [value] }))
  if (!(inner instanceof z.ZodObject)) return []
  const nested = Object.entries(inner.shape).flatMap(([field, of]) =>
    objectsIn(of).map(({ path, value }) => ({ path: [field, ...path], value: { [field]: value } })),
  )
  return [{ path: [], value: { [UNKNOWN]: 1 } }, ...nested]
}

/** Paths of fields that are called unknown. */
function unknownIn(parameters: z.ZodType, value: unknown): string[] {
  const read = parameters.safeParse(value)
  return read.success
    ? []
    : read.error.issues.flatMap(issue =>
        issue.code === 'unrecognized_keys' ? issue.keys.map(key => [...issue.path, key].join('.')) : [],
      )
}

describe('parameters of plug-ins', () => {
  const types = pluginTypes().map(type => ({ type, fields: fieldsOf(pluginType(type)!.parameters) }))

  it('are known by their fields', () => {
    expect(types.filter(({ fields }) => fields.length > 0).length).toBeGreaterThan(30)
  })

  it.each(types)('$type: a wrong type in any field is told at that field, and nothing throws', ({ type, fields }) => {
    const { parameters } = pluginType(type)!
    for (const field of fields) {
      const told = VALUES.map(value => {
        const read = parameters.safeParse({ [field]: value })
        return !read.success && read.error.issues.some(({ path }) => path[0] === field)
      })
      expect([field, told.includes(true)]).toEqual([field, true])
    }
    for (const value of VALUES.filter(value => typeof value !== 'object' || value === null || Array.isArray(value)))
      expect(parameters.safeParse(value).success).toBe(false)
  })

  it('have objects inside of them', () => {
    const inside = types
      .flatMap(({ type }) => objectsIn(pluginType(type)!.parameters))
      .filter(({ path }) => path.length > 0)
    expect(inside.length).toBeGreaterThan(15)
  })

  it.each(types)('$type: an unknown field anywhere is told at its path', ({ type }) => {
    const { parameters } = pluginType(type)!
    for (const { path, value } of objectsIn(parameters))
      expect(unknownIn(parameters, value)).toContain([...path, UNKNOWN].join('.'))
  })

  it.each(types.filter(({ fields }) => fields.length > 1))(
    '$type: all that is wrong is told at once',
    ({ type, fields }) => {
      const { parameters } = pluginType(type)!
      const wrong = fields.map(field => {
        const value = VALUES.find(each => {
          const read = parameters.safeParse({ [field]: each })
          return !read.success && read.error.issues.some(({ path }) => path[0] === field)
        })
        return [field, value] as const
      })
      const read = parameters.safeParse({ ...Object.fromEntries(wrong), [UNKNOWN]: 1 })
      const told = new Set(
        read.error!.issues.flatMap(issue => (issue.code === 'unrecognized_keys' ? issue.keys : [issue.path[0]])),
      )
      expect(told).toEqual(new Set([...fields, UNKNOWN]))
    },
  )
})
