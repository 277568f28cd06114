import type { RegexMatcher } from '../gen/envoy/type/matcher/v3/regex_pb.ts'
import type { StringMatcher } from '../gen/envoy/type/matcher/v3/string_pb.ts'

export type StringPredicate = (value: string) => boolean

/** A regular expression of RE2's syntax as far as JavaScript shares it, leading flags as `(?i)` included. Throws `SyntaxError`. */
export function regexOf(matcher: RegexMatcher | undefined, whole: boolean, flags = ''): RegExp {
  const text = matcher?.regex ?? ''
  const leading = /^\(\?([ims]+)\)/.exec(text)
  const body = leading === null ? text : text.slice(leading[0].length)
  const all = [...new Set(`${flags}${leading?.[1] ?? ''}`)].join('')
  return new RegExp(whole ? `^(?:${body})$` : body, all)
}

/** Envoy's StringMatcher as a function; an empty one matches nothing. Throws `SyntaxError`. */
export function stringPredicate(matcher: StringMatcher): StringPredicate {
  const { matchPattern, ignoreCase } = matcher
  if (matchPattern.case === 'safeRegex') {
    const regex = regexOf(matchPattern.value, true)
    return value => regex.test(value)
  }
  if (matchPattern.case === undefined) return () => false
  const wanted = ignoreCase ? matchPattern.value.toLowerCase() : matchPattern.value
  const fold = (value: string): string => (ignoreCase ? value.toLowerCase() : value)
  switch (matchPattern.case) {
    case 'exact':
      return value => fold(value) === wanted
    case 'prefix':
      return value => fold(value).startsWith(wanted)
    case 'suffix':
      return value => fold(value).endsWith(wanted)
    default:
      return value => fold(value).includes(wanted)
  }
}
