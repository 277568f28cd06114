/**
 * Counts what became of requests, in shared memory: each thread writes its own (`Outcomes`), the main thread sums them up when metrics
 * are asked for (`OutcomeTotals`). Labels stand in the memory too, so that a successor of a thread that died goes on counting where
 * that one stopped, and nothing has to be told.
 *
 * Memory: a 32-bit number of labels; for each label its family (one byte), its length (one byte) and its UTF-8; a 64-bit float per
 * label. A label is written before the number of labels rises, and never changes. One writer a cell; a float is exact up to 2⁵³.
 */

const FAMILIES = ['routed', 'refused', 'answered', 'fellBack'] as const
type Family = (typeof FAMILIES)[number]

/** Cluster names and codes of one thread. Those that have no place are counted together, under `other`. */
const MAX_LABELS = 2048
const LABEL_BYTES = 256
const OTHER = 'other'
const COUNTS = 8
const TEXTS = COUNTS + MAX_LABELS * Float64Array.BYTES_PER_ELEMENT

/** Untouched parts take no memory. */
export function createOutcomesMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(TEXTS + MAX_LABELS * LABEL_BYTES)
}

/** The writing side: one object a memory at a time. */
export class Outcomes {
  readonly memory: SharedArrayBuffer
  readonly #size: Int32Array
  readonly #counts: Float64Array
  readonly #texts: Buffer
  readonly #cells: Readonly<Record<Family, Map<string, number>>> = {
    routed: new Map(),
    refused: new Map(),
    answered: new Map(),
    fellBack: new Map(),
  }

  constructor(memory: SharedArrayBuffer = createOutcomesMemory()) {
    this.memory = memory
    this.#size = new Int32Array(memory, 0, 1)
    this.#counts = new Float64Array(memory, COUNTS, MAX_LABELS)
    this.#texts = Buffer.from(memory, TEXTS)
    for (let cell = 0; cell < this.#size[0]!; cell++) {
      const { family, text } = readLabel(this.#texts, cell)
      this.#cells[family].set(text, cell)
    }
  }

  /** By Envoy cluster. */
  routed(cluster: string): void {
    this.#count('routed', cluster)
  }

  /** By error code. */
  refused(code: string): void {
    this.#count('refused', code)
  }

  /** By kind of answer of ours that is no refusal. */
  answered(kind: string): void {
    this.#count('answered', kind)
  }

  /** Requests that another endpoint than the picked one served. */
  get fellBack(): number {
    const cell = this.#cells.fellBack.get('')
    return cell === undefined ? 0 : this.#counts[cell]!
  }

  set fellBack(value: number) {
    this.#counts[this.#cells.fellBack.get('') ?? this.#add('fellBack', '')] = value
  }

  #count(family: Family, label: string): void {
    const cell = this.#cells[family].get(label) ?? this.#add(family, label)
    this.#counts[cell]!++
  }

  /** The last places are kept for the labels `other`. */
  #add(family: Family, label: string): number {
    const cells = this.#cells[family]
    const cell = this.#size[0]!
    const kept = label === OTHER || label === '' ? 0 : FAMILIES.length
    if (cell >= MAX_LABELS - kept) {
      const other = cells.get(OTHER) ?? this.#add(family, OTHER)
      return other
    }
    const at = cell * LABEL_BYTES
    const length = this.#texts.write(label, at + 2, LABEL_BYTES - 2)
    this.#texts[at] = FAMILIES.indexOf(family)
    this.#texts[at + 1] = length
    Atomics.store(this.#size, 0, cell + 1)
    cells.set(label, cell)
    return cell
  }
}

/** Sums over threads. */
export class OutcomeTotals {
  readonly #memories: readonly SharedArrayBuffer[]

  constructor(memories: readonly SharedArrayBuffer[]) {
    this.#memories = memories
  }

  get routedTo(): ReadonlyMap<string, number> {
    return this.#sum('routed')
  }

  get refusedWith(): ReadonlyMap<string, number> {
    return this.#sum('refused')
  }

  get answeredWith(): ReadonlyMap<string, number> {
    return this.#sum('answered')
  }

  get fellBack(): number {
    return this.#sum('fellBack').get('') ?? 0
  }

  #sum(family: Family): Map<string, number> {
    const sums = new Map<string, number>()
    for (const memory of this.#memories) {
      const size = Atomics.load(new Int32Array(memory, 0, 1), 0)
      const counts = new Float64Array(memory, COUNTS, MAX_LABELS)
      const texts = Buffer.from(memory, TEXTS)
      for (let cell = 0; cell < size; cell++) {
        const label = readLabel(texts, cell)
        if (label.family === family) sums.set(label.text, (sums.get(label.text) ?? 0) + counts[cell]!)
      }
    }
    return sums
  }
}

function readLabel(texts: Buffer, cell: number): { readonly family: Family; readonly text: string } {
  const at = cell * LABEL_BYTES
  return { family: FAMILIES[texts[at]!]!, text: texts.toString('utf8', at + 2, at + 2 + texts[at + 1]!) }
}
