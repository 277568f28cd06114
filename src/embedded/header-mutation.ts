/**
 * What ext_proc may do to headers (envoy-xds-istio.md §1.10, envoy-1.40-measured.md §5): removals first, then settings;
 * `raw_value` only (a bare `value` sets an empty header); `append`, never `append_action`; forbidden names are skipped and counted.
 */
import { toBinary } from '@bufbuild/protobuf'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import type { HeaderMutationRules } from '../gen/envoy/config/common/mutation_rules/v3/mutation_rules_pb.ts'
import { type HeaderValueOption, HeaderValueOptionSchema } from '../gen/envoy/config/core/v3/base_pb.ts'
import type { HeaderMutation } from '../gen/envoy/service/ext_proc/v3/external_processor_pb.ts'
import type { HeaderList } from './header-list.ts'
import { regexOf } from './string-match.ts'

export interface MutationRules {
  readonly allows: (name: string) => boolean
  readonly disallowIsError: boolean
}

const ROUTING = new Set(['host', ':authority', ':scheme', ':method'])

/** Throws `SyntaxError` for a bad regular expression. */
export function mutationRules(rules: HeaderMutationRules | undefined): MutationRules {
  const deny = rules?.disallowExpression === undefined ? undefined : regexOf(rules.disallowExpression, true)
  const allow = rules?.allowExpression === undefined ? undefined : regexOf(rules.allowExpression, true)
  const allows = (name: string): boolean => {
    if (deny?.test(name) === true) return false
    if (allow?.test(name) === true) return true
    if (rules?.disallowAll === true) return false
    if (ROUTING.has(name)) return rules?.allowAllRouting === true
    if (name.startsWith(':')) return rules?.disallowSystem !== true
    if (name.startsWith('x-envoy-')) return rules?.allowEnvoy === true
    return true
  }
  return { allows, disallowIsError: rules?.disallowIsError === true }
}

export interface MutationContext {
  readonly rules: MutationRules
  /** CONTINUE_AND_REPLACE: `:method` may change too. */
  readonly replacing: boolean
  /** False: the body streams, a content-length set by the processor is skipped. */
  readonly contentLength: boolean
}

export interface MutationResult {
  /** Response code details of a mutation that is an error; some headers may have changed by then. */
  readonly error?: string
  /** Forbidden changes that were skipped. */
  readonly rejected: number
}

const NAME = /^:?[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// oxlint-disable-next-line no-control-regex -- these are the forbidden ones
const BAD_VALUE = /[\0\r\n]/

export function applyMutation(headers: HeaderList, mutation: HeaderMutation, context: MutationContext): MutationResult {
  let rejected = 0
  for (const given of mutation.removeHeaders) {
    const name = given.toLowerCase()
    if (!NAME.test(name)) return { error: 'header_mutation_remove_contains_invalid_character', rejected }
    if (name.startsWith(':') || name === 'host' || !context.rules.allows(name)) {
      rejected++
      if (context.rules.disallowIsError) return { error: 'header_mutation_removal_is_not_allowed', rejected }
    } else headers.remove(name)
  }
  for (const option of mutation.setHeaders) {
    const name = option.header?.key.toLowerCase() ?? ''
    const raw = option.header?.rawValue ?? new Uint8Array()
    if (raw.length > 0 && (option.header?.value ?? '') !== '')
      return { error: 'header_mutation_set_has_value_and_raw_value', rejected }
    const value = Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString('latin1')
    if (!NAME.test(name) || BAD_VALUE.test(value))
      return { error: 'header_mutation_set_contains_invalid_character', rejected }
    if (name === 'content-length' && !context.contentLength) continue
    const allowed = context.rules.allows(name) || (name === ':method' && context.replacing)
    if (!allowed || (name === ':status' && !/^[2-5]\d\d$/.test(value))) {
      rejected++
      if (context.rules.disallowIsError) return { error: 'header_mutation_set_is_not_allowed', rejected }
    } else if (appends(option) && !name.startsWith(':')) headers.add(name, value)
    else headers.set(name, value)
  }
  return { rejected }
}

/** The deprecated `append` (field 2, a BoolValue), read from the wire form so that it counts whether our subset names it or not. */
function appends(option: HeaderValueOption): boolean {
  const reader = new BinaryReader(toBinary(HeaderValueOptionSchema, option))
  let result = false
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (field !== 2 || type !== WireType.LengthDelimited) {
      reader.skip(type, field)
      continue
    }
    const inner = new BinaryReader(reader.bytes())
    while (inner.pos < inner.len) {
      const [innerField, innerType] = inner.tag()
      if (innerField === 1 && innerType === WireType.Varint) result = inner.bool()
      else inner.skip(innerType, innerField)
    }
  }
  return result
}
