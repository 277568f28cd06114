/** The `grpc-timeout` header: up to eight digits and a unit. */

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }

/** Milliseconds, rounded up; `undefined` when the value is malformed. */
export function parseGrpcTimeout(value: string): number | undefined {
  const match = /^([0-9]{1,8})([HMSmun])$/.exec(value)
  if (match === null) return undefined
  return Math.ceil(Number(match[1]) * UNIT_MS[match[2]!]!)
}
