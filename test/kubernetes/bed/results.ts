import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Counts what was looked at, and prints each line as it comes. */
export class Results {
  passed = 0
  expectedFailures = 0
  /** Everything that came out otherwise than expected. */
  surprises = 0
  readonly #folder: string

  /** @param folder where evidence of surprises goes */
  constructor(folder: string) {
    this.#folder = folder
  }

  outcome(what: string, came: string, expected: string): void {
    if (came !== expected) this.surprises++
    else if (came === 'PASS') this.passed++
    else this.expectedFailures++
    const note = came === expected ? (came === 'PASS' ? '' : ' (as expected)') : ` (expected: ${expected})`
    console.log(`${came === expected ? 'ok    ' : 'NOT OK'} ${what}: ${came}${note}`)
  }

  /** Looks at something; a rejection is its failure. */
  async check(what: string, look: () => Promise<void>): Promise<void> {
    const fault = await look().then(
      () => '',
      (error: unknown) => (error as Error).message,
    )
    this.outcome(what, fault === '' ? 'PASS' : `FAIL: ${fault}`, 'PASS')
  }

  async keep(file: string, text: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true })
    await writeFile(join(this.#folder, file), text)
    console.log(`       kept: ${join(this.#folder, file)}`)
  }

  get line(): string {
    const { passed, surprises, expectedFailures } = this
    return `${passed} passed, ${surprises} failed, ${expectedFailures} failed as expected`
  }
}
