import { didYouMean } from '../../config/suggest.ts'
import { UsageError } from '../command.ts'

/** What a flag takes. A `bool` needs no value, and takes one only behind `=`. */
export type FlagType = 'string' | 'bool'

/** Flags as given: all values of a name, in their order; `true` and `false` for a `bool`. */
export type GivenFlags = ReadonlyMap<string, readonly string[]>

/** What Go's `strconv.ParseBool` takes. */
const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True'])
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False'])

/**
 * Reads a command line as Go programs do: `-flag`, `--flag`, `--flag=value`, `--flag value`, `--bool`, `--bool=false`.
 * `refusals` has words of their own for names that are not taken (any more). @throws UsageError
 */
export function parseGoFlags(
  argv: readonly string[],
  types: Readonly<Record<string, FlagType>>,
  refusals: Readonly<Record<string, string>> = {},
): GivenFlags {
  const given = new Map<string, string[]>()
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    const [, written, value] = /^--?([A-Za-z][^=]*)(?:=([^]*))?$/.exec(word) ?? []
    if (written === undefined) {
      const before = argv[i - 1]?.replace(/^-+/, '') ?? ''
      const hint = types[before] === 'bool' ? `; write --${before}=${word}` : ''
      throw new UsageError(`epp: '${word}' is no flag${hint}`)
    }
    if (!Object.hasOwn(types, written)) throw new UsageError(unknown(written, types, refusals))
    let text = value
    if (types[written] === 'bool') text = readBool(written, text)
    else if (text === undefined) text = argv[++i]
    if (text === undefined) throw new UsageError(`--${written} needs a value`)
    const values = given.get(written)
    if (values === undefined) given.set(written, [text])
    else values.push(text)
  }
  return given
}

function readBool(name: string, text: string | undefined): string {
  if (text === undefined || TRUE.has(text)) return 'true'
  if (FALSE.has(text)) return 'false'
  throw new UsageError(`--${name}: '${text}' is neither true nor false`)
}

function unknown(
  written: string,
  types: Readonly<Record<string, FlagType>>,
  refusals: Readonly<Record<string, string>>,
): string {
  if (Object.hasOwn(refusals, written)) return `--${written} ${refusals[written]}`
  // Endpoint pickers of 2025 wrote `-poolName`.
  const kebab = written.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)
  if (Object.hasOwn(types, kebab)) return `there is no flag --${written}: it is called --${kebab} now`
  if (Object.hasOwn(refusals, kebab)) return `--${written} (--${kebab}) ${refusals[kebab]}`
  return `there is no flag --${written}${didYouMean(written, Object.keys(types))}`
}
