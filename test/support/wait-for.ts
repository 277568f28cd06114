import { setTimeout as sleep } from 'node:timers/promises'

export interface WaitOptions {
  /** Default 10 s: generous, as it is only spent when something is wrong. */
  readonly timeoutMs?: number
  /** Between two looks. Default 20 ms. */
  readonly intervalMs?: number
}

/**
 * Waits until `probe` gives something truthy, and returns that. A probe that throws counts as "not yet".
 * @param what for the message: "waited 10 s for <what>"
 * @throws {Error} the time is over; carries what the last look gave
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  options: WaitOptions = {},
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const { timeoutMs = 10_000, intervalMs = 20 } = options
  const deadline = Date.now() + timeoutMs
  for (;;) {
    let last: unknown
    try {
      const value = await probe()
      // oxlint-disable-next-line typescript/strict-boolean-expressions -- truthy is the contract
      if (value) return value as Exclude<T, false | null | undefined | 0 | ''>
      last = value
    } catch (error) {
      last = error
    }
    if (Date.now() > deadline)
      throw new Error(`waited ${timeoutMs / 1000} s for ${what}; the last look gave: ${String(last)}`)
    await sleep(intervalMs)
  }
}
