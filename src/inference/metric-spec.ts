/** The notation of an EndpointPickerConfig for a family of a metrics page (epp.md §4.2): `name` or `name{label=value,other="value"}`. */
import type { MetricSpec } from './pool-plan.ts'

/** What is wrong with a specification. */
export class MetricSpecError extends Error {
  readonly code = 'invalid-metric-spec'
  constructor(message: string) {
    super(message)
    this.name = 'MetricSpecError'
  }
}

const NAME = /^[A-Za-z_:][A-Za-z0-9_:]*$/
const LABEL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
/** A pair of a label list: a quoted value may hold anything. */
const PAIR = /\s*([^=,"]*?)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^",]*?)\s*)?(,|$)/y

/**
 * Undefined for an empty text: the signal is switched off.
 * @throws MetricSpecError
 */
export function parseMetricSpec(text: string): MetricSpec | undefined {
  const trimmed = text.trim()
  if (trimmed === '') return undefined
  const open = trimmed.indexOf('{')
  const name = (open < 0 ? trimmed : trimmed.slice(0, open)).trim()
  if (name === '') throw new MetricSpecError('has no metric name')
  if (!NAME.test(name)) throw new MetricSpecError(`"${name}" is no metric name`)
  if (open < 0) return { name, labels: {} }
  const close = endOfLabels(trimmed, open + 1)
  if (close < 0) throw new MetricSpecError('has no closing brace')
  const rest = trimmed.slice(close + 1).trim()
  if (rest !== '') throw new MetricSpecError(`has text after the closing brace: "${rest}"`)
  return { name, labels: readLabels(trimmed.slice(open + 1, close)) }
}

function endOfLabels(text: string, from: number): number {
  let quoted = false
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\' && quoted) at++
    else if (text[at] === '"') quoted = !quoted
    else if (text[at] === '}' && !quoted) return at
  }
  return -1
}

function readLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  if (text.trim() === '') return labels
  PAIR.lastIndex = 0
  for (;;) {
    const at = PAIR.lastIndex
    const match = PAIR.exec(text)
    if (match === null) throw new MetricSpecError(`cannot read the labels from "${text.slice(at).trim()}" on`)
    const [, name = '', written, end] = match
    if (name === '') throw new MetricSpecError('has a label without a name')
    if (!LABEL_NAME.test(name)) throw new MetricSpecError(`"${name}" is no label name`)
    if (written === undefined) throw new MetricSpecError(`label "${name}" has no value: write ${name}=value`)
    const value = written.startsWith('"') ? unescape(written.slice(1, -1)) : written
    if (value === '') throw new MetricSpecError(`label "${name}" has an empty value`)
    if (Object.hasOwn(labels, name)) throw new MetricSpecError(`label "${name}" stands there twice`)
    labels[name] = value
    if (end !== ',') return labels
  }
}

function unescape(text: string): string {
  return text.replace(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character))
}
