/**
 * Every field of every kind, each with values of every wrong type: each is an error at its own place that says what it should be.
 * The fields come from the schemas themselves, so that a new one is tested the day it is there.
 */
import { describe, expect, it } from '@jest/globals'
import type { z } from 'zod'
import { KINDS } from './kinds/registry.ts'
import { readTexts } from './object-set.ts'
import { type FieldPath, formatProblem } from './problem.ts'

type Type = 'string' | 'number' | 'boolean' | 'null' | 'list' | 'object'

const VALUES: Readonly<Record<Type, readonly unknown[]>> = {
  string: ['text', ''],
  number: [7, 1.5, -1],
  boolean: [true],
  null: [null],
  list: [[], [1]],
  object: [{}, { text: 1 }],
}
const TYPES = Object.keys(VALUES) as Type[]

interface Field {
  readonly path: FieldPath
  /** Types of JSON that may stand there. */
  readonly accepts: ReadonlySet<Type>
  /** Fields that must be there for the path to be looked at: the discriminators of unions. */
  readonly beside: readonly (readonly [path: FieldPath, value: unknown])[]
}

/** What of a schema's definition is needed, whatever its class. */
interface Definition {
  readonly type: string
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>
  readonly element?: z.core.$ZodType
  readonly innerType?: z.core.$ZodType
  readonly in?: z.core.$ZodType
  readonly valueType?: z.core.$ZodType
  readonly options?: readonly z.core.$ZodType[]
  readonly discriminator?: string
  readonly values?: readonly unknown[]
  readonly entries?: Readonly<Record<string, unknown>>
}

const LEAVES: Readonly<Record<string, readonly Type[]>> = {
  string: ['string'],
  number: ['number'],
  int: ['number'],
  boolean: ['boolean'],
  unknown: TYPES,
  any: TYPES,
}

/** The fields at and below a schema. */
function fieldsOf(schema: z.core.$ZodType, path: FieldPath = [], beside: Field['beside'] = []): Field[] {
  const definition = schema._zod.def as unknown as Definition
  const { type } = definition
  const below = (inner: z.core.$ZodType, part: string | number) => fieldsOf(inner, [...path, part], beside)
  switch (type) {
    case 'object':
      return [
        { path, accepts: new Set(['object']), beside },
        ...Object.entries(definition.shape!).flatMap(([name, inner]) => below(inner, name)),
      ]
    case 'array':
      return [{ path, accepts: new Set(['list']), beside }, ...below(definition.element!, 0)]
    case 'record':
      return [{ path, accepts: new Set(['object']), beside }, ...below(definition.valueType!, 'key')]
    case 'nullable': {
      const [own, ...rest] = fieldsOf(definition.innerType!, path, beside)
      return [{ ...own!, accepts: new Set([...own!.accepts, 'null']) }, ...rest]
    }
    case 'optional':
    case 'default':
    case 'prefault':
      return fieldsOf(definition.innerType!, path, beside)
    case 'pipe':
      return fieldsOf(definition.in!, path, beside)
    case 'literal':
      return [{ path, accepts: new Set(definition.values!.map(value => typeof value as Type)), beside }]
    case 'enum':
      return [{ path, accepts: new Set(['string']), beside }]
    case 'union': {
      const { discriminator } = definition
      const options = definition.options!.map(option => {
        if (discriminator === undefined) return fieldsOf(option, path, beside)
        const value = literalOf(option, discriminator)
        return fieldsOf(option, path, [...beside, [[...path, discriminator], value]])
      })
      const own = { path, accepts: new Set(options.flatMap(([first]) => [...first!.accepts])), beside }
      // The discriminator itself is the same field in each option.
      return [own, ...options.flatMap(([, ...rest]) => rest)]
    }
    default: {
      const accepts = LEAVES[type]
      if (accepts === undefined) throw new Error(`${path.join('.')}: a schema of the type ${type} is new here`)
      return [{ path, accepts: new Set(accepts), beside }]
    }
  }
}

function literalOf(option: z.core.$ZodType, name: string): unknown {
  const definition = option._zod.def as unknown as Definition
  if (definition.type === 'pipe') return literalOf(definition.in!, name)
  return (definition.shape![name]!._zod.def as unknown as Definition).values![0]
}

/** Puts a value at a path, making the objects and lists on the way. */
function put(root: Record<string, unknown>, path: FieldPath, value: unknown): void {
  let at: Record<string | number, unknown> = root
  path.forEach((part, i) => {
    if (i === path.length - 1) at[part] = value
    else at = (at[part] ??= typeof path[i + 1] === 'number' ? [] : {}) as Record<string | number, unknown>
  })
}

describe.each([...KINDS])('%s', (name, { schema }) => {
  const apiVersion = name.slice(0, name.lastIndexOf('/'))
  const kind = name.slice(name.lastIndexOf('/') + 1)
  // Of another apiVersion or kind it would be another object.
  const fields = fieldsOf(schema).filter(
    ({ path }) => path.length > 0 && path[0] !== 'apiVersion' && path[0] !== 'kind',
  )

  it('has fields', () => expect(fields.length).toBeGreaterThan(8))

  it.each(fields.map(field => [field.path.join('.'), field] as const))('%s', (_path, { path, accepts, beside }) => {
    for (const type of TYPES) {
      if (accepts.has(type)) continue
      for (const value of VALUES[type]) {
        const object: Record<string, unknown> = { apiVersion, kind, metadata: { name: 'n' } }
        for (const [besidePath, besideValue] of beside) put(object, besidePath, besideValue)
        put(object, path, value)
        const { items, errors } = readTexts([{ file: 'f.yaml', text: JSON.stringify(object) }])
        expect(items).toEqual([])
        const shown = errors.map(formatProblem)
        const own = errors.filter(error => error.path?.join('.') === path.join('.'))
        if (own.length === 0)
          throw new Error(`${JSON.stringify(object)}: no error at ${path.join('.')}:\n${shown.join('\n')}`)
        for (const { message } of own) {
          expect(message).not.toMatch(/^Invalid|undefined|\[object|NaN|must be [,(]|mean "\d/)
          expect(message.length).toBeLessThan(400)
        }
      }
    }
  })
})
