/** Blocks that a step tells of at the most. */
export const STEP_BLOCKS = 128
/** Values that take as long to read as a block takes to be told. */
export const VALUES_PER_BLOCK = 256
/** Values that may be read before the next look at the meter. */
export const STEP_VALUES = STEP_BLOCKS * VALUES_PER_BLOCK

/** What a step of reading a batch has done so far, in blocks told or what takes as long: a measure that is the same on every machine. */
export class StepMeter {
  spent = 0

  /** Counts what was done. Returns whether the step has done enough. */
  isEnough(blocks: number): boolean {
    this.spent += blocks
    return this.spent >= STEP_BLOCKS
  }
}
