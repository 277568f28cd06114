/** The `grpc-timeout` header: up to eight digits and a unit. */

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }

/** Milliseconds, rounded up; `undefined` when the value is malformed. */
export function parseGrpcTimeout(value: string): number | undefined {
  const digits = value.length - 1
  const unit = UNIT_MS[value.charAt(digits)]
  if (digits < 1 || digits > 8 || unit === undefined) return undefined
  // By hand: some clients send one with every stream, and a regular expression would be the dearest part of opening it.
  let amount = 0
  for (let i = 0; i < digits; i++) {
    const digit = value.charCodeAt(i) - 0x30
    if (digit < 0 || digit > 9) return undefined
    amount = amount * 10 + digit
  }
  return Math.ceil(amount * unit)
}
