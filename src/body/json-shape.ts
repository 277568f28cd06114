/** What the values of a JSON body may be, compiled once and shared by any number of `ShapeChecker`s. */
import { FieldType } from './json-fields.ts'
import type { ScanProgram } from './json-program.ts'

const TYPES = {
  text: 1 << FieldType.STRING,
  number: 1 << FieldType.NUMBER,
  flag: (1 << FieldType.TRUE) | (1 << FieldType.FALSE),
  null: 1 << FieldType.NULL,
  object: 1 << FieldType.OBJECT,
  list: 1 << FieldType.ARRAY,
} as const
type ShapeType = keyof typeof TYPES

const NOUNS: Readonly<Record<ShapeType, string>> = {
  text: 'a text',
  number: 'a number',
  flag: 'true or false',
  list: 'a list',
  object: 'an object',
  // Whoever sends it knows.
  null: '',
}

/** What one value may be. A field that is not named may be anything, and so may what is in it; none has to be there. */
export interface Shape {
  /** Absent: anything. */
  readonly types?: readonly ShapeType[]
  /** Where it is an object. */
  readonly fields?: Readonly<Record<string, Shape>>
  /** Each one, where it is a list. */
  readonly elements?: Shape
  /** They are all of one type. */
  readonly alike?: boolean
}

interface ShapeNode {
  readonly key: string
  readonly keyBytes: Uint8Array
  readonly parent: number
  readonly children: number[]
  readonly text: boolean
  readonly stream: number
}

/** Several shapes in one: a value is checked from the node of its shape on. */
export interface ShapeProgram extends ScanProgram {
  /** By node: a bit for each `FieldType`. */
  readonly types: Uint8Array
  /** By node: that of the elements; −1: they may be anything. */
  readonly elements: Int32Array
  /** By node: 1 where they are alike. */
  readonly alike: Uint8Array
  /** By node: the `keyBit`s of the keys that are named; 0: none is. */
  readonly keyBits: Int32Array
  /** Containers within each other that shapes look into. */
  readonly maxLevels: number
}

const ANYTHING = 0xff

/** The node of `shapes[i]` is `nodeOf[i]`. */
export function compileShapes(shapes: readonly Shape[]): ShapeProgram {
  const nodes: ShapeNode[] = []
  const masks: number[] = []
  const elementNodes: number[] = []
  const alikes: number[] = []
  let maxLevels = 0

  function add(shape: Shape, key: string, parent: number, level: number): number {
    const { types, fields = {}, elements, alike = false } = shape
    const node: ShapeNode = {
      key,
      keyBytes: new TextEncoder().encode(key),
      parent,
      children: [],
      text: false,
      stream: -1,
    }
    const at = nodes.push(node) - 1
    masks[at] = types === undefined ? ANYTHING : types.reduce((all, type) => all | TYPES[type], 0)
    alikes[at] = alike ? 1 : 0
    maxLevels = Math.max(maxLevels, level)
    for (const [name, field] of Object.entries(fields)) node.children.push(add(field, name, at, level + 1))
    elementNodes[at] = elements === undefined ? -1 : add(elements, '', at, level + 1)
    return at
  }

  const nodeOf = Int32Array.from(shapes, shape => add(shape, '', -1, 0))
  return {
    nodes,
    nodeOf,
    types: Uint8Array.from(masks),
    elements: Int32Array.from(elementNodes),
    alike: Uint8Array.from(alikes),
    keyBits: Int32Array.from(nodes, ({ children }) =>
      children.reduce((all, child) => all | keyBit(nodes[child]!.keyBytes.length, nodes[child]!.keyBytes[0]!), 0),
    ),
    maxLevels,
    // Limits are the scanner's.
    maxDepth: Number.MAX_SAFE_INTEGER,
    maxTextBytes: 1,
    maxKeyBytes: Number.MAX_SAFE_INTEGER,
    keyBufferBytes: 6 * Math.max(...nodes.map(({ keyBytes }) => keyBytes.length)),
  }
}

/** Tells most keys that nobody has named from those that are, by their length and their first byte. */
export function keyBit(bytes: number, first: number): number {
  return 1 << ((bytes + first) & 31)
}

/** Types as the end of “must be …”. */
export function describeTypes(types: number): string {
  const nouns = Object.entries(TYPES).flatMap(([type, bits]) => ((types & bits) === 0 ? [] : NOUNS[type as ShapeType]))
  return nouns.filter(noun => noun !== '').join(' or ')
}
