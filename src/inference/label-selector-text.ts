/** A Kubernetes label selector as text: `app=x,role in (a,b),!canary`. */

type Labels = Readonly<Record<string, string>>
export type LabelTest = (labels: Labels) => boolean

const KEY = String.raw`([A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?)`
const VALUE = String.raw`([-A-Za-z0-9_.]*)`
const EQUALS = new RegExp(String.raw`^${KEY}\s*(==?|!=)\s*${VALUE}$`)
const IN = new RegExp(String.raw`^${KEY}\s+(in|notin)\s*\(([^()]*)\)$`)
const COMPARED = new RegExp(String.raw`^${KEY}\s*([<>])\s*(-?\d{1,15})$`)
const EXISTS = new RegExp(String.raw`^(!?)\s*${KEY}$`)

/** Undefined: the text is none. */
export function parseLabelSelector(text: string): LabelTest | undefined {
  const tests: LabelTest[] = []
  // Commas in parentheses separate values.
  for (const part of text.split(/,(?![^()]*\))/)) {
    const test = requirement(part.trim())
    if (test === undefined) return undefined
    tests.push(test)
  }
  return labels => tests.every(test => test(labels))
}

function requirement(text: string): LabelTest | undefined {
  const equals = EQUALS.exec(text)
  if (equals !== null) return among(equals[1]!, [equals[4]!], equals[3] === '!=')
  const listed = IN.exec(text)
  if (listed !== null) {
    const values = listed[4]!.split(',').map(value => value.trim())
    if (values.some(value => !/^[-A-Za-z0-9_.]*$/.test(value))) return undefined
    return among(listed[1]!, values, listed[3] === 'notin')
  }
  const compared = COMPARED.exec(text)
  if (compared !== null) {
    const [key, limit] = [compared[1]!, Number(compared[4])]
    return labels => {
      const value = /^-?\d+$/.test(labels[key] ?? '') ? Number(labels[key]) : Number.NaN
      return compared[3] === '<' ? value < limit : value > limit
    }
  }
  const exists = EXISTS.exec(text)
  return exists === null ? undefined : labels => Object.hasOwn(labels, exists[2]!) === (exists[1] === '')
}

function among(key: string, values: readonly string[], not: boolean): LabelTest {
  return labels => (Object.hasOwn(labels, key) && values.includes(labels[key]!)) !== not
}
