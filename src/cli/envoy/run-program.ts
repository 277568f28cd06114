import { execFile } from 'node:child_process'

/** What a finished program left behind. */
export interface ProgramResult {
  /** 0 = success; null = it could not be started, or was killed. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** One line for people when `code` isn't 0: why it could not start, or the last line that it wrote. */
  readonly failure: string
}

/** Runs a program to its end. Never throws; kills it (SIGKILL) after `timeoutMs`. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly timeoutMs: number },
): Promise<ProgramResult> {
  return new Promise(resolve => {
    const settings = {
      env: options.env ?? process.env,
      timeout: options.timeoutMs,
      killSignal: 'SIGKILL' as const,
      maxBuffer: 16 << 20,
    }
    const child = execFile(program, args, settings, (error, stdout, stderr) => {
      if (error === null) {
        resolve({ code: 0, stdout, stderr, failure: '' })
        return
      }
      const code = typeof error.code === 'number' ? error.code : null
      resolve({ code, stdout, stderr, failure: failureLine(error, stdout, stderr, options.timeoutMs) })
    })
    child.stdin?.end()
  })
}

function failureLine(
  error: Error & { code?: number | string | null; killed?: boolean; signal?: NodeJS.Signals | null },
  stdout: string,
  stderr: string,
  timeoutMs: number,
): string {
  if (error.killed === true) return `no answer within ${timeoutMs / 1000} s`
  if (error.code === 'ENOENT') return 'no such program'
  if (error.code === 'EACCES') return 'not executable (permission denied)'
  if (error.code === 'ENOEXEC') return 'not a program that this machine can run'
  const lines = `${stdout}\n${stderr}`
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')
  const last = lines.findLast(line => /^error/i.test(line)) ?? lines.at(-1) ?? 'it wrote nothing'
  const how = typeof error.code === 'number' ? `exit status ${error.code}` : (error.signal ?? String(error.code))
  return `${how}: ${last}`
}
