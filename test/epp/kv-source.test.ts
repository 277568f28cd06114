import { expect, it } from '@jest/globals'
import { destination } from './picker-answer.ts'
import { address, HERMETIC, PickerRig, pod } from './picker-rig.ts'

const HEADER = 'x-kv-cache-source-host-port'
const LONG = JSON.stringify({ model: 'm', prompt: 'the same beginning of every prompt '.repeat(200) })

it('a replica is told who holds a prompt that it must compute, and clients say nothing in that place', () => {
  const rig = new PickerRig([pod(0, 0), pod(0, 0)], `${HERMETIC}- type: p2p-source-producer\n`)
  const forged = { headers: { [HEADER]: '10.9.9.9:1' }, body: LONG }
  const first = rig.send(forged)
  const holder = destination(first)
  expect(first.set).not.toHaveProperty(HEADER)
  expect(first.removed).toContain(HEADER)
  // Who holds it computes it: nothing to fetch.
  expect(rig.send(forged).set).not.toHaveProperty(HEADER)
  rig.scrape([0, 1].map(i => (address(i) === holder ? pod(50, 1) : pod(0, 0))))
  const moved = rig.send(forged)
  expect(destination(moved)).not.toBe(holder)
  expect(moved.set[HEADER]).toBe(holder)
})
