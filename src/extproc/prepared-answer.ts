import { Buffer } from 'node:buffer'
import type { Decision } from './decision.ts'
import { writeRequestHeaders } from './encode-response.ts'
import { WireWriter } from './wire.ts'

/** The request-header answer of a decision, encoded once to be sent many times. The bytes must never be written to. */
export interface PreparedAnswer {
  readonly bytes: Buffer
  /** The same with `Decision.unretriedValue` in its place; `bytes` itself where there is no such value. */
  readonly unretried: Buffer
}

const writer = new WireWriter()

/** Encodes a decision that lets the request go on and changes nothing of its body. */
export function prepareAnswer(decision: Decision): PreparedAnswer {
  const bytes = encode(decision)
  const { unretriedIndex } = decision
  if (unretriedIndex < 0) return { bytes, unretried: bytes }
  const retried = decision.setValues[unretriedIndex]!
  decision.setValues[unretriedIndex] = decision.unretriedValue
  const unretried = encode(decision)
  decision.setValues[unretriedIndex] = retried
  return { bytes, unretried }
}

function encode(decision: Decision): Buffer {
  // Nothing, unless an encoding failed half-way.
  writer.take()
  writeRequestHeaders(writer, decision, -1)
  // A copy: a view would keep the whole slab.
  return Buffer.from(writer.take())
}
