import { Random } from './random.ts'
import { pieces, pieceToken } from './tokenizer.ts'

const WORDS =
  `the a signal box points train line track lamp lever tower station bridge river hill town morning evening window
door clock bell wire road field forest cloud rain wind light shadow garden kitchen table letter paper book story song friend
worker driver guard child teacher doctor baker farmer sailor city country winter summer water stone iron glass wood bread tea
moves waits turns opens closes rings crosses follows carries answers listens remembers returns begins ends passes
slowly quickly quietly always never often again almost together early late north south green red yellow old new small large
long short bright dark warm cold clear busy empty ready open after before behind under over through between with without and
or but because while when where`.split(/\s+/)

/** The text that the "model" writes: plain sentences that mean nothing, the same for the same seed. */
export class TextGenerator {
  readonly #random: Random
  readonly #pieces: string[] = []

  constructor(seed: number) {
    this.#random = new Random(seed)
  }

  /** The text of token `index`. */
  piece(index: number): string {
    while (this.#pieces.length <= index) this.#pieces.push(...pieces(this.#sentence()))
    return this.#pieces[index]!
  }

  token(index: number): number {
    return pieceToken(this.piece(index))
  }

  #sentence(): string {
    const words = Array.from(
      { length: this.#random.between(5, 14) },
      () => WORDS[this.#random.between(0, WORDS.length - 1)]!,
    )
    const text = words.join(' ')
    return `${this.#pieces.length === 0 ? '' : ' '}${text[0]!.toUpperCase()}${text.slice(1)}.`
  }
}
