/** Gateway API durations (GEP-2257): one to four parts of up to five digits and `h`, `m`, `s` or `ms`, e.g. `1h30m`, `250ms`. */
const FORM = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/
const PART = /([0-9]{1,5})(ms|h|m|s)/g
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** Milliseconds, or undefined when the text isn't of that form. */
export function parseDuration(text: string): number | undefined {
  if (!FORM.test(text)) return undefined
  let total = 0
  for (const [, digits, unit] of text.matchAll(PART)) total += Number(digits) * UNIT_MS[unit!]!
  return total
}
