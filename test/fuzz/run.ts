import { Random, caseSeed } from './random.ts'
import { Finding } from './target.ts'
import type { FuzzTarget } from './target.ts'

export interface FuzzRun {
  readonly cases: number
  readonly seconds: number
}

/** Other work gets its turn after so many runs; timers of what is fuzzed live on it. */
const TURN = 64

/**
 * Plays a target until `cases` cases are done, from run number `from` on. A finding is thrown with what plays it again; so is any other
 * error, which is a finding as well.
 */
export async function fuzz(
  target: FuzzTarget,
  options: { readonly cases: number; readonly seed: number; readonly from?: number },
  progress?: (run: FuzzRun) => void,
): Promise<FuzzRun> {
  const start = performance.now()
  const so = (): FuzzRun => ({ cases, seconds: (performance.now() - start) / 1000 })
  let cases = 0
  let told = start
  for (let index = options.from ?? 0; cases < options.cases; index++) {
    try {
      const played = target.play(new Random(caseSeed(options.seed, index)))
      cases += typeof played === 'number' ? played : await played
    } catch (error) {
      const again = `node test/fuzz/fuzz.ts --only ${target.name} --seed ${options.seed} --from ${index} --cases 1`
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
