import { expect, it } from '@jest/globals'
import { readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { explainSystemError } from './system-error.ts'

const failure = async (act: () => Promise<unknown>): Promise<string> => {
  const error = await act().then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  return explainSystemError((error as Error).message)
}

it('says in words what the system says of files', async () => {
  expect(await failure(() => readFile('/no/such.crt'))).toBe('there is no file /no/such.crt')
  expect(await failure(() => stat('/no/such.key'))).toBe('there is no file /no/such.key')
  expect(await failure(() => readFile('/'))).toBe('this is a folder, but a file is needed')
  expect(await failure(() => readFile('/proc/version/x'))).toBe(
    'there is no file /proc/version/x: a part of its path is no folder',
  )
  expect(explainSystemError("EACCES: permission denied, open '/root/a, b.key'")).toBe(
    'no permission to read /root/a, b.key',
  )
})

it('… and of addresses', async () => {
  const listen = (host: string, port: number) =>
    new Promise((resolve, reject) => {
      const server = createServer()
      server.once('error', reject)
      server.listen(port, host, () => server.close(resolve))
    })
  expect(await failure(() => listen('192.0.2.1', 9002))).toBe('192.0.2.1:9002 is no address of this machine')
})

it('… that grpc-js quotes, and IPv6', () => {
  const quoted = (address: string) =>
    `No address added out of total 1 resolved errors: [listen EADDRINUSE: address already in use ${address}]`
  expect(explainSystemError(quoted('127.0.0.1:5'))).toBe('127.0.0.1:5 is in use')
  expect(explainSystemError(quoted(':::5'))).toBe('[::]:5 is in use')
  expect(explainSystemError('listen EADDRINUSE: address already in use :::5')).toBe('[::]:5 is in use')
})

it('leaves the rest as it is', () => {
  expect(explainSystemError('something: else, open to all')).toBe('something: else, open to all')
})
