import { finish } from '../prefix-hasher.ts'

/** 32-bit hash of a text after what `before` stands for; not 0. */
export function hashText(text: string, before = 0): number {
  let hash = finish(before ^ text.length ^ 0x5bd1e995)
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return finish(hash) || 1
}
