import { expect, it } from '@jest/globals'
import { blocksOf, LABEL_TEXTS_BYTES, LabelTexts, LabelTextWriter } from './label-texts.ts'

const lengths = [0, 1, 63, 64, 65, 128, 129, 1000, 4613]
const texts = lengths.map((length, i) => String.fromCharCode(97 + i).repeat(length))

it('texts of any length are read as they were written, also by a successor, and their room serves again', () => {
  const memory = new SharedArrayBuffer(LABEL_TEXTS_BYTES)
  const view = new LabelTexts(memory, 0)
  const writer = new LabelTextWriter(view, [])
  const { room } = writer
  const firsts = texts.map(text => writer.write(text, text.length))
  const blocks = lengths.reduce((sum, length) => sum + blocksOf(length), 0)
  expect(room - writer.room).toBe(blocks)
  const read = () => firsts.map((first, i) => new LabelTexts(memory, 0).read(first, lengths[i]!))
  expect(read()).toEqual(texts)
  // Every second one goes, and comes back.
  const even = [...firsts.keys()].filter(i => i % 2 === 0)
  for (const i of even) writer.free(firsts[i]!, lengths[i]!)
  const kept = [...firsts.keys()].filter(i => i % 2 === 1)
  const successor = new LabelTextWriter(
    view,
    kept.map(i => [firsts[i]!, lengths[i]!] as const),
  )
  expect(successor.room).toBe(writer.room)
  for (const i of even) firsts[i] = successor.write(texts[i]!, lengths[i]!)
  expect(read()).toEqual(texts)
  expect(successor.room).toBe(room - blocks)
  expect(Math.max(...firsts)).toBeLessThan(blocks)
})

it('letters of several bytes may lie across blocks', () => {
  const view = new LabelTexts(new SharedArrayBuffer(LABEL_TEXTS_BYTES), 0)
  const writer = new LabelTextWriter(view, [])
  const text = `a${'€'.repeat(100)}`
  expect(view.read(writer.write(text, 301), 301)).toBe(text)
})

it('what is found in the middle of a change is nonsense, but ends', () => {
  const memory = new SharedArrayBuffer(LABEL_TEXTS_BYTES)
  const view = new LabelTexts(memory, 0)
  const writer = new LabelTextWriter(view, [])
  const first = writer.write(texts.at(-1)!, 4613)
  writer.free(first, 4613)
  expect(view.read(first, 4613)).toHaveLength(4613)
})
