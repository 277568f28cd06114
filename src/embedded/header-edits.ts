/** Header changes that stand in routes and listeners: removals first, then additions, as Envoy's router applies them. */
import {
  type HeaderValueOption,
  HeaderValueOption_HeaderAppendAction as Action,
} from '../gen/envoy/config/core/v3/base_pb.ts'
import type { HeaderList } from './header-list.ts'

export interface HeaderEdits {
  readonly remove: readonly string[]
  readonly set: readonly { readonly name: string; readonly value: string; readonly action: Action }[]
}

export const NO_EDITS: HeaderEdits = { remove: [], set: [] }

export function readHeaderEdits(remove: readonly string[], add: readonly HeaderValueOption[]): HeaderEdits {
  if (remove.length === 0 && add.length === 0) return NO_EDITS
  return { remove: remove.map(name => name.toLowerCase()), set: add.map(readOption) }
}

function readOption(option: HeaderValueOption): HeaderEdits['set'][number] {
  const raw = option.header?.rawValue ?? new Uint8Array()
  const value =
    raw.length > 0 ? Buffer.from(raw).toString('latin1') : Buffer.from(option.header?.value ?? '').toString('latin1')
  const name = (option.header?.key ?? '').toLowerCase()
  return { name: name === 'host' ? ':authority' : name, value, action: option.appendAction }
}

/** `format` fills in `%…%` operators of a value. */
export function applyHeaderEdits(headers: HeaderList, edits: HeaderEdits, format: (value: string) => string): void {
  for (const name of edits.remove) headers.remove(name)
  for (const { name, value, action } of edits.set) {
    const text = value.includes('%') ? format(value) : value
    const present = headers.has(name)
    if (action === Action.OVERWRITE_IF_EXISTS_OR_ADD || (action === Action.OVERWRITE_IF_EXISTS && present))
      headers.set(name, text)
    else if (action === Action.APPEND_IF_EXISTS_OR_ADD || (action === Action.ADD_IF_ABSENT && !present)) {
      // Pseudo headers have one value.
      if (name.startsWith(':')) headers.set(name, text)
      else headers.add(name, text)
    }
  }
}
