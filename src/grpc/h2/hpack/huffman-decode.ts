/**
 * Huffman strings of HPACK, four bits a step: one table look-up gives the next state and the octet that is complete, if one is
 * (the shortest code has five bits). 16 KiB of table, which stays in the first-level cache.
 */
import { EOS, huffmanCodes } from './huffman-code.ts'

/** A transition: its next state (times 16), the octet, and whether there is one. */
const EMITS = 1 << 13
const OCTET_SHIFT = 16
/** 256 inner nodes; then one that is never left, for strings with EOS in them. */
const FAILED = 256
const ROOT = 0

const transitions = new Uint32Array((FAILED + 1) * 16)
/** States in which a string may end: at most 7 bits into a code, all of them ones (RFC 7541 §5.2). */
const mayEnd = new Uint8Array(FAILED + 1)
buildTables()

/**
 * Decodes `source[start, end)` into `target`, from its beginning. Returns how many octets the string has: what does not fit into
 * `target` is counted, not written. -1: EOS inside, or a padding that is longer than 7 bits or not all ones.
 */
export function decodeHuffman(source: Uint8Array, start: number, end: number, target: Uint8Array): number {
  const capacity = target.length
  let length = 0
  let state = ROOT
  for (let at = start; at < end; at++) {
    const byte = source[at]!
    let step = transitions[state + (byte >>> 4)]!
    if ((step & EMITS) !== 0) {
      if (length < capacity) target[length] = step >>> OCTET_SHIFT
      length++
    }
    step = transitions[(step & 0x1ff0) + (byte & 0x0f)]!
    if ((step & EMITS) !== 0) {
      if (length < capacity) target[length] = step >>> OCTET_SHIFT
      length++
    }
    state = step & 0x1ff0
  }
  return mayEnd[state >>> 4] === 1 ? length : -1
}

function buildTables(): void {
  // Two children a node: the number of an inner node, or -1 - octet. No child is the root, so 0 is "none yet".
  const children = new Int16Array(FAILED * 2)
  let nodes = 1
  for (const { symbol, bits, code } of huffmanCodes()) {
    let node = ROOT
    for (let bit = bits - 1; bit > 0; bit--) {
      const child = node * 2 + ((code >>> bit) & 1)
      if (children[child] === 0) children[child] = nodes++
      node = children[child]!
    }
    children[node * 2 + (code & 1)] = -1 - symbol
  }
  for (let state = 0; state < FAILED; state++)
    for (let nibble = 0; nibble < 16; nibble++) transitions[state * 16 + nibble] = transition(children, state, nibble)
  transitions.fill(FAILED * 16, FAILED * 16)
  let node = ROOT
  mayEnd[node] = 1
  for (let ones = 1; ones <= 7; ones++) {
    node = children[node * 2 + 1]!
    mayEnd[node] = 1
  }
}

function transition(children: Int16Array, state: number, nibble: number): number {
  let node = state
  let emitted = 0
  for (let bit = 3; bit >= 0; bit--) {
    const child = children[node * 2 + ((nibble >>> bit) & 1)]!
    if (child >= 0) node = child
    else if (-1 - child === EOS) return FAILED * 16
    else {
      emitted = EMITS | ((-1 - child) << OCTET_SHIFT)
      node = ROOT
    }
  }
  return emitted | (node * 16)
}
