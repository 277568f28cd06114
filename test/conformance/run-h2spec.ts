import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runProgram } from '../../src/cli/envoy/run-program.ts'

type Verdict = 'passed' | 'failed' | 'skipped'

export interface H2specCase {
  /** As in the tables of `src/grpc/suite/conformance`: `http2/6.1/2`. */
  readonly id: string
  readonly name: string
  readonly verdict: Verdict
  /** What it waited for and what came, when it failed. */
  readonly detail: string
}

const RUN_MS = 300_000

interface H2specOptions {
  /** Seconds that it waits for each outcome. Default: 1. */
  readonly patienceS?: number
  /** Default: plaintext. The certificate is not looked at. */
  readonly tls?: boolean
}

/** Runs h2spec with all of its cases, strict ones too, against a server of this machine. */
export async function runH2spec(
  binary: string,
  port: number,
  { patienceS = 1, tls = false }: H2specOptions = {},
): Promise<readonly H2specCase[]> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-h2spec-'))
  try {
    const report = join(folder, 'report.xml')
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      '-o',
      String(patienceS),
      '-S',
      '-j',
      report,
      ...(tls ? ['-t', '-k'] : []),
    ]
    const run = await runProgram(binary, args, { timeoutMs: RUN_MS })
    // It ends with 1 when a case failed; without a report it did not run.
    const xml = await readFile(report, 'utf8').catch(() => {
      throw new Error(`h2spec did not run (${run.failure})`)
    })
    return readReport(xml)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Reads its JUnit report, which may hold control characters that XML does not allow: so no parser. */
export function readReport(xml: string): readonly H2specCase[] {
  const cases: H2specCase[] = []
  const counts = new Map<string, number>()
  const pattern = /<testcase package="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g
  for (const [, section = '', name = '', inside = ''] of xml.matchAll(pattern)) {
    const place = (counts.get(section) ?? 0) + 1
    counts.set(section, place)
    const failed = /<(?:error|failure)[^>]*>([\s\S]*?)<\/(?:error|failure)>/.exec(inside)
    cases.push({
      id: `${section}/${place}`,
      name: unescape(name),
      verdict: failed !== null ? 'failed' : inside.includes('<skipped') ? 'skipped' : 'passed',
      detail: unescape(failed?.[1] ?? ''),
    })
  }
  return cases
}

function unescape(text: string): string {
  return text
    .replace(/&lt;/g, '<')
    .replace(/&gt;/g, '>')
    .replace(/&#34;|&quot;/g, '"')
    .replace(/&#39;|&apos;/g, "'")
    .replace(/&amp;/g, '&')
}
