import { expect, it } from '@jest/globals'
import {
  createFilter,
  createPicker,
  createPluginScorer,
  pluginTypes,
  pluginType,
  UnknownPluginError,
} from './registry.ts'

it('knows every plug-in by its own name, with parameters that stay the same when they are read again', () => {
  for (const type of pluginTypes()) {
    const plugin = pluginType(type)!
    expect(plugin.type).toBe(type)
    const read = plugin.parameters.safeParse({})
    if (read.success) expect(plugin.parameters.parse(structuredClone(read.data))).toEqual(read.data)
    expect(plugin.parameters.safeParse({ nonsense: 1 }).success).toBe(false)
  }
})

it('creates filters, scorers and pickers, each from their own', () => {
  expect(createFilter({ type: 'decode-filter', parameters: {} }).type).toBe('by-label')
  expect(createFilter({ type: 'header-based-testing-filter', parameters: {} }).type).toBe('header-based-testing-filter')
  expect(createPluginScorer({ type: 'queue-scorer', parameters: {} }).type).toBe('queue-scorer')
  expect(createPicker({ type: 'random-picker', parameters: {} })).toBeInstanceOf(Function)
  expect(() => createFilter({ type: 'queue-scorer', parameters: {} })).toThrow(UnknownPluginError)
  expect(() => createPluginScorer({ type: 'constructor', parameters: {} })).toThrow(
    /no scorer "constructor"; there are active-/,
  )
  expect(() => createPicker({ type: 'decode-filter', parameters: {} })).toThrow(/max-score-picker/)
})
