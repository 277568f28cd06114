/** The grammar of a JSON number (RFC 8259 §6) as a table: state and byte give the next state. */

const START = 0
const MINUS = 1
const ZERO = 2
const INTEGER = 3
const POINT = 4
const FRACTION = 5
const E = 6
const SIGN = 7
const EXPONENT = 8
const STATES = 9

/** The byte is not part of the number, which is complete without it. */
const ENDS = 254
/** The byte cannot stand here. */
const WRONG = 255

const TRANSITIONS: readonly (readonly [from: number, bytes: string, to: number])[] = [
  [START, '-', MINUS],
  [START, '0', ZERO],
  [START, '123456789', INTEGER],
  [MINUS, '0', ZERO],
  [MINUS, '123456789', INTEGER],
  [ZERO, '.', POINT],
  [ZERO, 'eE', E],
  [INTEGER, '0123456789', INTEGER],
  [INTEGER, '.', POINT],
  [INTEGER, 'eE', E],
  [POINT, '0123456789', FRACTION],
  [FRACTION, '0123456789', FRACTION],
  [FRACTION, 'eE', E],
  [E, '+-', SIGN],
  [E, '0123456789', EXPONENT],
  [SIGN, '0123456789', EXPONENT],
  [EXPONENT, '0123456789', EXPONENT],
]

const NEXT = buildTable()

function buildTable(): Uint8Array {
  const table = new Uint8Array(STATES << 8)
  for (let state = 0; state < STATES; state++) {
    table.fill(isComplete(state) ? ENDS : WRONG, state << 8, (state + 1) << 8)
    if (isComplete(state)) for (const byte of Buffer.from('0123456789+-.eE')) table[(state << 8) | byte] = WRONG
  }
  for (const [from, bytes, to] of TRANSITIONS) for (const byte of Buffer.from(bytes)) table[(from << 8) | byte] = to
  return table
}

function isComplete(state: number): boolean {
  return state === ZERO || state === INTEGER || state === FRACTION || state === EXPONENT
}

/** Reads one number over any number of chunks. */
export class NumberReader {
  #state = START
  /** Whether what was read so far is a number as it stands. */
  get complete(): boolean {
    return isComplete(this.#state)
  }

  start(): void {
    this.#state = START
  }

  /** Returns the position of the first byte that is not part of the number, or `end`. It is complete, or that byte is wrong. */
  read(chunk: Uint8Array, start: number, end: number): number {
    let state = this.#state
    let p = start
    for (; p < end; p++) {
      const next = NEXT[(state << 8) | chunk[p]!]!
      if (next === ENDS) break
      if (next === WRONG) {
        state = START
        break
      }
      state = next
    }
    this.#state = state
    return p
  }
}
