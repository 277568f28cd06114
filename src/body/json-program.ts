/** What a `JsonScanner` looks for, compiled once (per route) and shared by any number of scanners. */

/**
 * - `text`: a scalar is kept and can be read as decoded text, up to `maxTextBytes`.
 * - `span`: only type, offsets and count.
 * - `stream`: as `span`, and the raw bytes of the first occurrence go to the scanner's `sink` as they come.
 */
type WantedKind = 'text' | 'span' | 'stream'

/** One field. The same path may be wanted in several kinds. */
export interface Wanted {
  /** Keys from the root object down; `[]` is the root value itself. Never looks into arrays. */
  readonly path: readonly string[]
  readonly kind: WantedKind
}

export interface ScanLimits {
  /** Open objects and arrays at one time; a deeper body is invalid (`too_deep`). Default 256 (serde allows 128, Python about 1000). */
  readonly maxDepth?: number
  /** Raw bytes (before unescaping, without the quotes) kept of a `text` field; of a longer one none are. Default 4096. */
  readonly maxTextBytes?: number
  /** Raw bytes of one key, wanted or not; a longer one makes the body invalid (`key_too_long`). Default 65,536. */
  readonly maxKeyBytes?: number
}

/** A key below its parent in the tree of wanted paths; node 0 is the root value. */
interface Node {
  readonly key: string
  readonly keyBytes: Uint8Array
  readonly parent: number
  readonly children: number[]
  text: boolean
  /** First index of the wanted list that asked for the bytes; -1: none. */
  stream: number
}

export interface ScanProgram {
  readonly nodes: readonly Readonly<Node>[]
  /** Node of each entry of the wanted list. */
  readonly nodeOf: Int32Array
  readonly maxDepth: number
  readonly maxTextBytes: number
  readonly maxKeyBytes: number
  /** Bytes that the longest wanted key can take when every character is escaped. */
  readonly keyBufferBytes: number
}

/** @throws RangeError for a limit that is not a positive whole number */
export function compileScan(wanted: readonly Wanted[], limits: ScanLimits = {}): ScanProgram {
  const nodes: Node[] = [newNode('', -1)]
  const nodeOf = new Int32Array(wanted.length)
  wanted.forEach(({ path, kind }, index) => {
    let at = 0
    for (const key of path) at = childFor(nodes, at, key)
    const node = nodes[at]!
    if (kind === 'text') node.text = true
    if (kind === 'stream' && node.stream < 0) node.stream = index
    nodeOf[index] = at
  })
  return {
    nodes,
    nodeOf,
    maxDepth: positive('maxDepth', limits.maxDepth ?? 256),
    maxTextBytes: positive('maxTextBytes', limits.maxTextBytes ?? 4096),
    maxKeyBytes: positive('maxKeyBytes', limits.maxKeyBytes ?? 65_536),
    // One byte of UTF-8 is at most six bytes of JSON (`\u006d`).
    keyBufferBytes: 6 * Math.max(...nodes.map(node => node.keyBytes.length)),
  }
}

/** Child of `parent` whose key is the bytes `start … end`, none of them escaped; -1: not wanted. */
export function childByBytes(
  program: ScanProgram,
  parent: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  const length = end - start
  const children = program.nodes[parent]!.children
  for (let i = 0; i < children.length; i++) {
    const key = program.nodes[children[i]!]!.keyBytes
    if (key.length !== length) continue
    let same = 0
    while (same < length && key[same] === bytes[start + same]) same++
    if (same === length) return children[i]!
  }
  return -1
}

/** Child of `parent` with this key, unescaped; -1: not wanted. */
export function childByText(program: ScanProgram, parent: number, key: string): number {
  return program.nodes[parent]!.children.find(child => program.nodes[child]!.key === key) ?? -1
}

function childFor(nodes: Node[], parent: number, key: string): number {
  const children = nodes[parent]!.children
  const known = children.find(child => nodes[child]!.key === key)
  if (known !== undefined) return known
  const added = nodes.push(newNode(key, parent)) - 1
  children.push(added)
  return added
}

function newNode(key: string, parent: number): Node {
  return { key, keyBytes: new TextEncoder().encode(key), parent, children: [], text: false, stream: -1 }
}

function positive(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`${name} must be a positive whole number, not ${value}`)
  return value
}
