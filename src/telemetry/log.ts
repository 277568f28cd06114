import pino from 'pino'

export type Log = pino.Logger

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LEVELS)[number]

export function isLogLevel(text: string): text is LogLevel {
  return (LEVELS as readonly string[]).includes(text)
}

/**
 * The process's log: JSON lines on stderr, synchronous so that nothing is lost at a crash (it is never written per request).
 * Values under names that hold secrets are replaced, down to two objects deep. That is the second line: nothing of a request is
 * logged but its id.
 */
export function createLog(level: LogLevel, destination: pino.DestinationStream = standardError()): Log {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths: SECRETS, censor: '[redacted]' } },
    destination,
  )
}

/** Lines that wait for room, bytes; beyond it they are dropped. */
const MAX_WAITING_BYTES = 1024 * 1024

/** A log that cannot be written (a full disk, a reader that has gone) must not end what it tells of: lines are lost then. */
function standardError(): pino.DestinationStream {
  const destination = pino.destination({ fd: 2, sync: true, maxLength: MAX_WAITING_BYTES })
  destination.on('error', () => {})
  return destination
}

const SECRETS = [
  'authorization',
  'Authorization',
  'cookie',
  'apiKey',
  'key',
  'password',
  'private_key',
  'privateKey',
  'secret',
  'tls',
  'token',
  '["proxy-authorization"]',
  '["set-cookie"]',
  '["x-api-key"]',
  '["api-key"]',
].flatMap(name => (name.startsWith('[') ? [name, `*${name}`, `*.*${name}`] : [name, `*.${name}`, `*.*.${name}`]))
