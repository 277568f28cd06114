/**
 * Runs one Envoy as a child process. Everything that it needs lies in one temporary folder, which is gone when it is: no hot
 * restart (so no shared memory and no base ids that could collide), the admin port chosen by the system, output in a file.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JsonObject } from '@bufbuild/protobuf'
import { EnvoyAdmin } from './envoy-admin.ts'
import { startWatchdog, type Watchdog } from './envoy-watchdog.ts'

export interface StartEnvoyOptions {
  /** Path of the binary, see `resolveEnvoy`. */
  readonly binary: string
  /** `envoy.config.bootstrap.v3.Bootstrap` as JSON. Without an `admin` it gets one on a free loopback port. */
  readonly bootstrap: JsonObject
  /** Worker threads. Default 2. */
  readonly concurrency?: number
  /** Default `warning`. */
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warning' | 'error' | 'critical' | 'off'
  /** Log and standard output (access logs to `/dev/stdout`) are appended here. Default: a file that is removed at the end. */
  readonly logPath?: string
  readonly extraArgs?: readonly string[]
  /** How long Envoy may take to open its admin port. Default 15 s. */
  readonly startTimeoutMs?: number
}

export interface EnvoyExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A running Envoy. */
export interface EnvoyProcess {
  readonly pid: number
  readonly adminUrl: string
  readonly admin: EnvoyAdmin
  /** Resolves (never rejects) when the process is gone, whoever ended it, and its temporary folder is removed. */
  readonly exited: Promise<EnvoyExit>
  /**
   * Waits until `/ready` says LIVE: all initial xDS resources came and the listeners are open.
   * @throws {EnvoyExitedError} it ended before @throws {Error} it did not become ready in time (default 15 s)
   */
  ready(timeoutMs?: number): Promise<void>
  /** The log so far. */
  log(): Promise<string>
  /** SIGTERM, and SIGKILL after `graceMs` (default 5 s). May be called again, also after the end. */
  stop(graceMs?: number): Promise<EnvoyExit>
  /** SIGKILL: a crash, for tests of recovery. */
  kill(): Promise<EnvoyExit>
}

/** Envoy ended by itself; the message carries the end of its log, where it says why. */
export class EnvoyExitedError extends Error {
  readonly code = 'ENVOY_EXITED'
  override readonly name = 'EnvoyExitedError'
}

const LOG_TAIL_LINES = 20
const POLL_MS = 20

/**
 * Starts Envoy and waits for its admin port (not until it is ready: without xDS it may never be).
 * When this process dies, even by SIGKILL, Envoy is killed and the folder removed by a watchdog.
 * @throws {EnvoyExitedError} the configuration is refused, or the binary doesn't run
 */
export async function startEnvoy(options: StartEnvoyOptions): Promise<EnvoyProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-envoy-'))
  let started: StartedChild
  try {
    started = await spawnEnvoy(folder, options)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  const { child, pid, watchdog, logPath } = started
  let ended: EnvoyExit | undefined
  let lastLog = ''
  const exited = started.exit.then(async exit => {
    ended = exit
    watchdog.dismiss()
    lastLog = await readFile(logPath, 'utf8').catch(() => '')
    await rm(folder, { recursive: true, force: true })
    return exit
  })
  const log = async (): Promise<string> =>
    ended === undefined ? readFile(logPath, 'utf8') : exited.then(() => lastLog)
  const exitedError = async (exit: EnvoyExit): Promise<EnvoyExitedError> => {
    const how = exit.signal === null ? `with status ${exit.code}` : `by ${exit.signal}`
    const tail = (await log()).trimEnd().split('\n').slice(-LOG_TAIL_LINES)
    return new EnvoyExitedError(`Envoy ended ${how}. The end of its log:\n${tail.join('\n')}`)
  }
  const signalAndWait = async (first: NodeJS.Signals, graceMs: number): Promise<EnvoyExit> => {
    if (ended === undefined) child.kill(first)
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
    const exit = await exited
    clearTimeout(timer)
    return exit
  }

  /** Asks again and again until `probe` answers; fails when the process ends or the time is over. */
  const poll = async <T>(what: string, timeoutMs: number, probe: () => Promise<T | undefined>): Promise<T> => {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      if (ended !== undefined) throw await exitedError(ended)
      const value = await probe()
      if (value !== undefined) return value
      if (Date.now() > deadline) {
        throw new Error(`Envoy: ${what} took more than ${timeoutMs / 1000} s. Its log:\n${await log()}`)
      }
      await sleep(POLL_MS)
    }
  }

  let address: string
  try {
    address = await poll('opening the admin port', options.startTimeoutMs ?? 15_000, async () => {
      const text = await readFile(join(folder, 'admin-address'), 'utf8').catch(() => '')
      // The file may be seen before it is written.
      return /^\S+:\d+$/.test(text) ? text : undefined
    })
  } catch (error) {
    await signalAndWait('SIGKILL', 0)
    throw error
  }
  const admin = new EnvoyAdmin(`http://${address}`)
  return {
    pid,
    adminUrl: admin.url,
    admin,
    exited,
    log,
    ready: async (timeoutMs = 15_000) => {
      await poll('becoming ready', timeoutMs, async () => ((await admin.isLive()) ? true : undefined))
    },
    stop: (graceMs = 5_000) => signalAndWait('SIGTERM', graceMs),
    kill: () => signalAndWait('SIGKILL', 0),
  }
}

interface StartedChild {
  readonly child: ChildProcess
  readonly pid: number
  readonly exit: Promise<EnvoyExit>
  readonly watchdog: Watchdog
  readonly logPath: string
}

async function spawnEnvoy(folder: string, options: StartEnvoyOptions): Promise<StartedChild> {
  const bootstrapPath = join(folder, 'bootstrap.json')
  const admin = { address: { socketAddress: { address: '127.0.0.1', portValue: 0 } } }
  await writeFile(bootstrapPath, JSON.stringify({ admin, ...options.bootstrap }))
  const logPath = options.logPath ?? join(folder, 'envoy.log')
  // A file, not a pipe: Envoy opens /dev/stdout by name for access logs, which fails on the sockets that Node makes for pipes.
  const output = await open(logPath, 'a')
  try {
    const args = ['-c', bootstrapPath, '--admin-address-path', join(folder, 'admin-address'), '--disable-hot-restart']
    args.push('--concurrency', String(options.concurrency ?? 2), '--log-level', options.logLevel ?? 'warning')
    args.push(...(options.extraArgs ?? []))
    // Detached: Ctrl-C in a terminal must not end Envoy before its owner stops it in order.
    const child = spawn(options.binary, args, { stdio: ['ignore', output.fd, output.fd], detached: true, cwd: folder })
    const exit = new Promise<EnvoyExit>(resolve => {
      child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    const pid = await new Promise<number>((resolve, reject) => {
      child.once('spawn', () => resolve(child.pid!))
      child.once('error', error =>
        reject(new EnvoyExitedError(`${options.binary} could not be started: ${error.message}`)),
      )
    })
    return { child, pid, exit, watchdog: startWatchdog(pid, folder), logPath }
  } finally {
    await output.close()
  }
}
