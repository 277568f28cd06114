import { expect, it } from '@jest/globals'
import type { LinkState } from './peer-link.ts'
import { PeerWatch } from './peer-watch.ts'

const links = (states: Readonly<Record<string, LinkState>>) =>
  new Map(Object.entries(states).map(([address, state]) => [address, { state, failure: 'refused' }]))

it('tells once of a peer that is away for two looks, and once that it is back', () => {
  const watch = new PeerWatch()
  const lost = [{ address: 'a:1', reached: false, failure: 'refused' }]
  expect(watch.look(links({ 'a:1': 'connecting', 'b:1': 'connected', 'me:1': 'self' }))).toEqual([])
  expect(watch.look(links({ 'a:1': 'connecting', 'b:1': 'connected', 'me:1': 'self' }))).toEqual(lost)
  expect(watch.look(links({ 'a:1': 'connecting' }))).toEqual([])
  expect(watch.look(links({ 'a:1': 'connected' }))).toEqual([{ address: 'a:1', reached: true, failure: '' }])
  expect(watch.look(links({ 'a:1': 'connected' }))).toEqual([])
  // Away at one look only.
  expect(watch.look(links({ 'a:1': 'connecting' }))).toEqual([])
  expect(watch.look(links({ 'a:1': 'connected' }))).toEqual([])
  expect(watch.look(links({ 'a:1': 'connecting' }))).toEqual([])
  expect(watch.look(links({ 'a:1': 'connecting' }))).toEqual(lost)
})
