/** Processes of a benchmark: every one that was started is ended with the benchmark, by its pid. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

const running = new Set<ChildProcess>()
/** Those that are meant to end: nothing is said about them. */
const ending = new WeakSet<ChildProcess>()

export interface Started {
  readonly child: ChildProcess
  readonly pid: number
  /** SIGTERM (or what is given), SIGKILL after two seconds; resolves when it is gone. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

/** Starts a program. Its standard error is shown only when it ends with one. `defaults`: of the environment, where that does not say otherwise. */
export function start(program: string, args: readonly string[], defaults: NodeJS.ProcessEnv = {}): Started {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...defaults, ...process.env } })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-4000)))
  child.stdin.on('error', () => {})
  running.add(child)
  const exited = new Promise<void>(resolve => {
    child.once('error', error => {
      console.error(`${program}: ${error.message}`)
      resolve()
    })
    child.once('exit', (code, signal) => {
      running.delete(child)
      if (!ending.has(child) && code !== 0) console.error(`${program} ended (${signal ?? code}):\n${errors}`)
      resolve()
    })
  })
  const stop: Started['stop'] = async (signal = 'SIGTERM') => {
    ending.add(child)
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), 2000)
    await exited
    clearTimeout(timer)
  }
  return { child, pid: child.pid ?? 0, stop }
}

/** Runs a program to its end and returns its standard output. @throws Error when it fails */
export async function output(program: string, args: readonly string[]): Promise<string> {
  const { child } = start(program, args)
  let text = ''
  child.stdout!.setEncoding('utf8').on('data', (part: string) => (text += part))
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed (${code}):\n${text}`)
  return text
}

/** The first line of standard output; the rest is thrown away. @throws Error when it ends or stays silent */
export async function firstLine({ child }: Started, timeoutMs = 20_000): Promise<string> {
  const lines = createInterface({ input: child.stdout! })
  const line = new Promise<string>((resolve, reject) => {
    lines.once('line', resolve)
    child.once('exit', code => reject(new Error(`ended with ${code} before it was ready`)))
  })
  const tooLate = new AbortController()
  const timeout = delay(timeoutMs, undefined, { signal: tooLate.signal }).then(
    () => {
      throw new Error(`nothing was heard for ${timeoutMs / 1000} s`)
    },
    () => '',
  )
  try {
    return await Promise.race([line, timeout])
  } finally {
    tooLate.abort()
    line.catch(() => {})
  }
}

/** Ends whatever is still running: for signals and failures. */
export function killAll(): void {
  for (const child of running) {
    ending.add(child)
    child.kill('SIGKILL')
  }
}
