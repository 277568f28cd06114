/** Kubernetes quantities (apimachinery `resource.Quantity`) of whole things: `500`, `64Ki`, `1G`, `1.5Gi`, `1e9`. */
const FORM = /^([0-9]{1,18}(?:\.[0-9]{1,9})?)([kMGTPE]|[KMGTPE]i|e[0-9]{1,2})?$/
const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P', 'E']
const BINARY = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']

/** Rounded up; undefined when the text is no quantity, or one beyond 2⁵³. */
export function parseQuantity(text: string): number | undefined {
  const [, digits, suffix = ''] = FORM.exec(text) ?? []
  if (digits === undefined) return undefined
  const decimal = DECIMAL.indexOf(suffix)
  const factor =
    decimal >= 0
      ? 1000 ** decimal
      : suffix.startsWith('e')
        ? 10 ** Number(suffix.slice(1))
        : 1024 ** BINARY.indexOf(suffix)
  const value = Math.ceil(Number(digits) * factor)
  return Number.isSafeInteger(value) ? value : undefined
}
