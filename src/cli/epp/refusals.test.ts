import { Writable } from 'node:stream'
import { expect, it } from '@jest/globals'
import { eppCommand } from './epp-command.ts'

const FLAGS = ['--pool-name=p', '--kubeconfig=/no/such', '--grpc-port=0', '--grpc-health-port=0', '--metrics-port=0']

async function refused(...flags: readonly string[]): Promise<string> {
  let err = ''
  const stderr = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      err += chunk.toString()
      done()
    },
  })
  const io = { stdout: process.stdout, stderr, signal: new AbortController().signal }
  expect(await eppCommand.run([...FLAGS, '-v=0', '--zap-log-level=panic', ...flags], io)).toBe(1)
  return err
}

it('a kubeconfig that is not there is told by its own flag, after what is wrong with the configuration', async () => {
  expect(await refused()).toBe('signalbox: --kubeconfig: /no/such: there is no such file\n')
  const bad = 'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{ type: quue-scorer }]\n'
  expect(await refused(`--config-text=${bad}`)).toMatch(/there is no plug-in type "quue-scorer"/)
})
