import { describe, expect, it } from '@jest/globals'
import * as fc from 'fast-check'
import { compileScan } from './json-program.ts'
import { JsonScanner, ScanState } from './json-scan.ts'
import { compileShapes, type Shape } from './json-shape.ts'
import { type ShapeFault, ShapeChecker } from './shape-checker.ts'
import { cutAt, cutPositions, everySplit, feedLent } from './testing.ts'

const MESSAGES: Shape = {
  fields: {
    messages: {
      types: ['list'],
      elements: {
        types: ['object'],
        fields: {
          role: { types: ['text'] },
          content: {
            types: ['text', 'list', 'null'],
            elements: { types: ['object'], fields: { text: { types: ['text'] } } },
          },
        },
      },
    },
    flag: { types: ['flag'] },
    args: { types: ['object'] },
    'é"]': { types: ['number'] },
  },
}
const PROMPT: Shape = {
  fields: {
    prompt: {
      types: ['text', 'list'],
      alike: true,
      elements: { types: ['text', 'number', 'list'], elements: { types: ['number'] } },
    },
  },
}
const PROGRAM = compileShapes([MESSAGES, PROMPT])
const pooled = new ShapeChecker(PROGRAM)

function check(shape: Shape, chunks: readonly Uint8Array[], checker = pooled): ShapeFault | undefined {
  checker.begin(PROGRAM.nodeOf[shape === MESSAGES ? 0 : 1]!)
  let fault: ShapeFault | undefined
  feedLent(chunks, chunk => {
    fault ??= checker.feed(chunk, 0, chunk.length)
  })
  return fault
}

/** The same, by the plainest means. */
function expected(shape: Shape, value: unknown): boolean {
  const { types, fields, elements, alike } = shape
  const type = typeOf(value)
  if (types !== undefined && !types.includes(type)) return false
  if (Array.isArray(value)) {
    if (elements === undefined) return true
    const kinds = value.map(each => (typeof each === 'boolean' ? String(each) : typeOf(each)))
    return value.every(each => expected(elements, each)) && (alike !== true || new Set(kinds).size < 2)
  }
  if (type !== 'object' || fields === undefined) return true
  return Object.entries(value as object).every(
    ([key, each]) => !Object.hasOwn(fields, key) || expected(fields[key]!, each),
  )
}

function typeOf(value: unknown): NonNullable<Shape['types']>[number] {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'list'
  switch (typeof value) {
    case 'string':
      return 'text'
    case 'number':
      return 'number'
    case 'boolean':
      return 'flag'
    default:
      return 'object'
  }
}

describe('a shape', () => {
  it.each<readonly [body: string, shape: Shape, path: string | undefined, must: string | undefined]>([
    [
      '{"messages":[{"role":"user","content":"x"},{"role":"a","content":[{"text":"y"},{}]}],"flag":true}',
      MESSAGES,
      undefined,
      undefined,
    ],
    ['{"messages":[],"args":{"messages":[1]},"other":{"messages":7}}', MESSAGES, undefined, undefined],
    [
      '\uFEFF { "messages" : [ { "role" : "]}\\"," , "x":[[{"role":1}]] , "content":null} , {} ] } ',
      MESSAGES,
      undefined,
      undefined,
    ],
    ['[{"messages":1}]', MESSAGES, undefined, undefined],
    ['"messages"', MESSAGES, undefined, undefined],
    ['-1.5e3', MESSAGES, undefined, undefined],
    ['', MESSAGES, undefined, undefined],
    ['{"messages":"str"}', MESSAGES, 'messages', 'a list'],
    ['{"messages":null}', MESSAGES, 'messages', 'a list'],
    ['{"messages":[{},{"role":123}]}', MESSAGES, 'messages[1].role', 'a text'],
    ['{"messages":[{"x":{"role":1},"role":true}]}', MESSAGES, 'messages[0].role', 'a text'],
    ['{"messages":[{"role":"u","content":123}]}', MESSAGES, 'messages[0].content', 'a text or a list'],
    ['{"messages":[{"content":{}}]}', MESSAGES, 'messages[0].content', 'a text or a list'],
    ['{"messages":[{"content":[{"text":"x"},{"x":[],"text":[]}]}]}', MESSAGES, 'messages[0].content[1].text', 'a text'],
    ['{"messages":[[]]}', MESSAGES, 'messages[0]', 'an object'],
    ['{"flag":"true"}', MESSAGES, 'flag', 'true or false'],
    ['{"flag":false,"args":[]}', MESSAGES, 'args', 'an object'],
    // Of a key that comes twice, both are checked.
    ['{"flag":true,"flag":1}', MESSAGES, 'flag', 'true or false'],
    // Keys are compared after unescaping; values are not.
    ['{"\\u0066lag":1}', MESSAGES, 'flag', 'true or false'],
    ['{"\\u00e9\\"]":"x"}', MESSAGES, 'é"]', 'a number'],
    ['{"é\\"]":-1}', MESSAGES, undefined, undefined],
    ['{"args":"\\\\","flag":0}', MESSAGES, 'args', 'an object'],
    ['{"x":"\\\\\\"","flag":0}', MESSAGES, 'flag', 'true or false'],
    ['{"messages":[{"ro\u0001le":1}]}', MESSAGES, 'messages[0]', 'an object whose keys are JSON'],
    ['{"prompt":"x","messages":1}', PROMPT, undefined, undefined],
    ['{"prompt":[1,2,3]}', PROMPT, undefined, undefined],
    ['{"prompt":[[1],[],[2,3]]}', PROMPT, undefined, undefined],
    ['{"prompt":["a","b"]}', PROMPT, undefined, undefined],
    ['{"prompt":["a",1]}', PROMPT, 'prompt[1]', 'of the type of the first'],
    ['{"prompt":[[1],["a"]]}', PROMPT, 'prompt[1][0]', 'a number'],
    ['{"prompt":[[1],2]}', PROMPT, 'prompt[1]', 'of the type of the first'],
    ['{"prompt":[{}]}', PROMPT, 'prompt[0]', 'a text or a number or a list'],
  ])('%s', (body, shape, path, must) => {
    const found = path === undefined ? undefined : { path, must }
    for (const chunks of everySplit(Buffer.from(body))) expect(check(shape, chunks)).toEqual(found)
  })

  it('is what it says, however the body is split and whatever was read before', () => {
    const leaf = fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), fc.integer(), fc.constantFrom(true, false, null))
    const key = fc.constantFrom('role', 'content', 'text', 'x', 'messages', 'flag', 'args', 'prompt', 'é"]')
    const { value } = fc.letrec<{ value: unknown }>(tie => ({
      value: fc.oneof(
        { maxDepth: 3, depthSize: 'small' },
        leaf,
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(key, tie('value'), { maxKeys: 4 }),
      ),
    }))
    // What chance alone would seldom make.
    const message = fc.record({ role: fc.oneof(fc.string(), leaf), content: fc.oneof(fc.string(), value) })
    const prompts = fc.array(fc.oneof(fc.integer(), fc.array(fc.oneof({ weight: 9, arbitrary: fc.integer() }, leaf))))
    const body = fc.oneof(
      value,
      fc.record({ messages: fc.array(message, { maxLength: 4 }), flag: fc.boolean() }),
      fc.record({ prompt: fc.oneof(prompts, fc.array(fc.integer()), value) }),
    )
    fc.assert(
      fc.property(fc.constantFrom(MESSAGES, PROMPT), body, fc.nat(2), cutPositions, (shape, sent, space, cuts) => {
        const bytes = Buffer.from(JSON.stringify(sent, undefined, space))
        const fault = check(shape, cutAt(bytes, cuts))
        expect(fault === undefined).toBe(expected(shape, sent))
        expect(check(shape, [bytes], new ShapeChecker(PROGRAM))).toEqual(fault)
      }),
      { numRuns: 500 },
    )
  })

  it('ends with any bytes that the scanner has taken', () => {
    const scanner = new JsonScanner(compileScan([{ path: [], kind: 'span' }]))
    const token = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      '"messages"',
      '"role"',
      '1',
      'true',
      ' ',
      'x',
    )
    fc.assert(
      fc.property(fc.array(token, { maxLength: 30 }), tokens => {
        scanner.reset()
        pooled.begin(0)
        let fault: ShapeFault | undefined
        for (const chunk of tokens.map(text => Buffer.from(text))) {
          if (fault !== undefined || scanner.feed(chunk) === ScanState.INVALID) return
          fault = pooled.feed(chunk, 0, chunk.length)
        }
      }),
      { numRuns: 500 },
    )
  })
})
