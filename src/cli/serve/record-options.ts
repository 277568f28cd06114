import { closeSync, openSync, readFileSync } from 'node:fs'
import type { RecordOptions } from '../../pipeline/decision-records.ts'
import { UsageError } from '../command.ts'
import { parseCount } from '../options.ts'
import { explainSystemError } from '../system-error.ts'

/** What of decisions is told, and to whom. */
export interface RecordSettings {
  readonly scores: boolean
  readonly explainKeyFile: string | undefined
  readonly explainClientsFile: string | undefined
  readonly trace: { readonly file: string; readonly share: number; readonly maxBytes: number } | undefined
}

export const RECORD_OPTIONS = {
  'emit-endpoint-scores': { type: 'boolean', default: false },
  'explain-key-file': { type: 'string' },
  'explain-clients-file': { type: 'string' },
  'trace-file': { type: 'string' },
  'trace-share': { type: 'string' },
  'trace-max-bytes': { type: 'string' },
} as const

const DEFAULT_SHARE = 0.01
const DEFAULT_BYTES = 64 * 1024 * 1024
const LEAST_BYTES = 4096
const LEAST_KEY_LENGTH = 16

/** @throws UsageError */
export function parseRecords(values: {
  readonly 'emit-endpoint-scores': boolean
  readonly 'explain-key-file'?: string | undefined
  readonly 'explain-clients-file'?: string | undefined
  readonly 'trace-file'?: string | undefined
  readonly 'trace-share'?: string | undefined
  readonly 'trace-max-bytes'?: string | undefined
}): RecordSettings {
  const { 'trace-file': file, 'trace-share': share, 'trace-max-bytes': bytes } = values
  for (const option of ['trace-share', 'trace-max-bytes'] as const)
    if (values[option] !== undefined && file === undefined) throw new UsageError(`--${option} needs --trace-file`)
  if (file === '') throw new UsageError('--trace-file: is empty')
  return {
    scores: values['emit-endpoint-scores'],
    explainKeyFile: values['explain-key-file'],
    explainClientsFile: values['explain-clients-file'],
    trace:
      file === undefined
        ? undefined
        : {
            file,
            share: share === undefined ? DEFAULT_SHARE : parseShare(share),
            maxBytes: bytes === undefined ? DEFAULT_BYTES : parseCount(bytes, '--trace-max-bytes', LEAST_BYTES),
          },
  }
}

/** For the threads; undefined: nobody wants records. Reads the key, and sees whether the trace can be written. @throws UsageError */
export function recordOptions({ records }: { readonly records: RecordSettings }): RecordOptions | undefined {
  const { scores, explainKeyFile, explainClientsFile, trace } = records
  const explains = explainKeyFile !== undefined || explainClientsFile !== undefined
  if (!scores && !explains && trace === undefined) return undefined
  if (trace !== undefined) tryTrace(trace.file)
  return {
    scores,
    explainKey: explainKeyFile === undefined ? undefined : readKey(explainKeyFile),
    ...(explainClientsFile === undefined ? {} : { explainClients: readClients(explainClientsFile) }),
    traceShare: trace?.share ?? 0,
  }
}

/** Fingerprints, one a line, with or without colons, as `openssl x509 -fingerprint -sha256` prints them; `#` begins a comment. */
function readClients(file: string): string[] {
  const lines = readText(file, '--explain-clients-file')
    .split('\n')
    .map(line => line.replace(/#.*/, '').trim())
    .filter(line => line !== '')
  if (lines.length === 0) throw new UsageError(`--explain-clients-file: ${file} has no fingerprint`)
  return lines.map(line => {
    const fingerprint = line.replace(/^.*=/, '').replaceAll(':', '').toLowerCase()
    if (!/^[0-9a-f]{64}$/.test(fingerprint))
      throw new UsageError(`--explain-clients-file: '${line.slice(0, 100)}' is no SHA-256 fingerprint`)
    return fingerprint
  })
}

function readText(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`${option}: ${explainSystemError((error as Error).message)}`)
  }
}

function readKey(file: string): string {
  const key = readText(file, '--explain-key-file').trim()
  if (key.length < LEAST_KEY_LENGTH)
    throw new UsageError(`--explain-key-file: a key of less than ${LEAST_KEY_LENGTH} characters is guessed too easily`)
  return key
}

function tryTrace(file: string): void {
  try {
    closeSync(openSync(file, 'a'))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? `the folder of ${file} does not exist` : explainSystemError(message)
    throw new UsageError(`--trace-file: ${code === 'EACCES' ? `no permission to write ${file}` : why}`)
  }
}

function parseShare(text: string): number {
  const share = Number(text)
  if (text.trim() === '' || !(share > 0 && share <= 1))
    throw new UsageError(`--trace-share: '${text}' is no number above 0, up to 1`)
  return share
}
