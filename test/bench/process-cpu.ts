import { readFile } from 'node:fs/promises'

/** What the kernel counts in: 1/100 s on every Linux that Node supports. */
const TICK_MICROS = 10_000

/** CPU time that a process has used so far (user + system, all its threads), µs, in steps of a clock tick. */
export async function processCpuMicros(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The name in parentheses may hold spaces; after it come the fields from the third on.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MICROS
}
