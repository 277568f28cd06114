import { expect, it } from '@jest/globals'
import { createLog, isLogLevel } from './log.ts'

it('writes JSON lines from its level on', () => {
  const lines: string[] = []
  const log = createLog('warn', { write: line => void lines.push(line) })
  log.info('not this')
  log.warn({ pool: 'p' }, 'this')
  expect(lines.map(line => JSON.parse(line) as unknown)).toEqual([
    { level: 40, time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/), pool: 'p', msg: 'this' },
  ])
})

it('shows no secrets', () => {
  const lines: string[] = []
  const log = createLog('info', { write: line => void lines.push(line) })
  const secrets = {
    authorization: 'SECRET',
    'x-api-key': 'SECRET',
    'set-cookie': 'SECRET',
    privateKey: 'SECRET',
    token: 'SECRET',
  }
  log.info({ ...secrets, headers: secrets, request: { headers: secrets } }, 'x')
  expect(lines.join('')).not.toContain('SECRET')
  expect(lines.join('')).toContain('[redacted]')
})

it('knows its levels', () => {
  expect(['info', 'silent', 'loud', '', 'constructor'].map(isLogLevel)).toEqual([true, true, false, false, false])
})
