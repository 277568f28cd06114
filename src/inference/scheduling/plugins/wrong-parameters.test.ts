import { describe, expect, it } from '@jest/globals'
import { z } from 'zod'
import { pluginType, pluginTypes } from './registry.ts'

/** Values of every JSON type; each field must take some and refuse the others. */
const VALUES: readonly unknown[] = [null, true, -1, 0.5, 1e300, '', 'x'.repeat(5000), [], [null], {}, { wrong: [1] }]

function fieldsOf(schema: z.ZodType): readonly string[] {
  let inner: unknown = schema
  // Checks and defaults are wrapped around the object.
  while (inner instanceof z.ZodPipe || inner instanceof z.ZodDefault || inner instanceof z.ZodOptional)
    inner = inner instanceof z.ZodPipe ? inner.def.in : inner.def.innerType
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
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
    const unknown = parameters.safeParse({ 'no such field': 1 })
    expect(unknown.success).toBe(false)
  })
})
