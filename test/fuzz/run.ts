import { Random, caseSeed } from './random.ts'
import { Finding } from './target.ts'
import type { FuzzTarget } from './target.ts'

export interface FuzzRun {
  readonly cases: number
  readonly seconds: number
}

export interface FuzzOptions {
  readonly cases: number
  readonly seed: number
  /** First run. */
  readonly from?: number
  /** Its first cell holds the number of the run under way, for somebody who looks whether it hangs. */
  readonly underWay?: Int32Array
}

/** Other work gets its turn after so many runs; timers of what is fuzzed live on it. */
const TURN = 64

/**
 * Plays a target until `cases` cases are done, from run number `from` on. A finding is thrown with what plays it again; so is any other
 * error, which is a finding as well.
 */
export async function fuzz(
  target: FuzzTarget,
  options: FuzzOptions,
  progress?: (run: FuzzRun) => void,
): Promise<FuzzRun> {
  const start = performance.now()
  const so = (): FuzzRun => ({ cases, seconds: (performance.now() - start) / 1000 })
  let cases = 0
  let told = start
  for (let index = options.from ?? 0; cases < options.cases; index++) {
    if (options.underWay !== undefined) Atomics.store(options.underWay, 0, index)
    try {
      const played = target.play(new Random(caseSeed(options.seed, index)))
      cases += typeof played === 'number' ? played : await played
    } catch (error) {
      const again = playAgain(target.name, options.seed, index)
      throw new Finding(`${target.name}: ${(error as Error).message}\n  again: ${again}`, { cause: error })
    }
    if (index % TURN !== 0) continue
    await new Promise(resolve => setImmediate(resolve))
    if (progress !== undefined && performance.now() - told > 10_000) {
      told = performance.now()
      progress(so())
    }
  }
  return so()
}

/** The command that plays one run again. */
export function playAgain(name: string, seed: number, index: number): string {
  return `npm run fuzz -- --only ${name} --seed ${seed} --from ${index} --cases 1`
}
