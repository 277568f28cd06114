import type { Random } from './random.ts'

/** Something to be fuzzed. */
export interface FuzzTarget {
  readonly name: string
  /** What one case is. */
  readonly unit: string
  /** Plays one run at random and returns how many cases that were. Throws `Finding` when something is wrong. */
  play(random: Random): number | Promise<number>
  /** Of how often what came up, to see that a run meant something. */
  readonly seen: Map<string, number>
  /** Gives back what it holds. */
  close?(): Promise<void>
}

/** Something is wrong with what was fuzzed. */
export class Finding extends Error {
  override readonly name = 'Finding'
}

export function count(seen: Map<string, number>, what: string): void {
  seen.set(what, (seen.get(what) ?? 0) + 1)
}

/** Throws unless both are the same; `input`: what shows it. */
export function expectSame(what: string, ours: unknown, theirs: unknown, input: Uint8Array): void {
  const left = JSON.stringify(ours)
  const right = JSON.stringify(theirs)
  if (left !== right)
    throw new Finding(`${what}\n  ours   ${left}\n  theirs ${right}\n  input  ${Buffer.from(input).toString('hex')}`)
}
