import { spawn } from 'node:child_process'

export interface Watchdog {
  /** The watched process is gone: the watchdog leaves without touching its pid, which may belong to another by now. */
  dismiss(): void
}

/**
 * Sees to it that process `pid` doesn't outlive us, however we end: a little shell waits on a pipe whose other end only we
 * hold. End of file there = we are dead, so it kills the process and removes `folder`. (Linux' PR_SET_PDEATHSIG can't be set
 * from Node.)
 */
export function startWatchdog(pid: number, folder: string): Watchdog {
  const script = 'read -r _ && exit 0; kill -KILL "$0"; sleep 0.2; rm -rf "$1"'
  const shell = spawn('/bin/sh', ['-c', script, String(pid), folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // Its own process group: Ctrl-C in a terminal must not end the watchdog before us.
    detached: true,
  })
  const pipe = shell.stdin
  // Without a shell there is no watchdog, but Envoy works all the same.
  shell.on('error', () => {})
  pipe.on('error', () => {})
  shell.unref()
  ;(pipe as unknown as { unref(): void }).unref()
  return { dismiss: () => pipe.end('\n') }
}
