import { compileBootstrap } from '../compile/bootstrap.ts'
import { type Command, UsageError } from './command.ts'
import { parseOptions, parseReachable } from './options.ts'

export const bootstrapCommand: Command = {
  summary: 'prints the bootstrap of an Envoy that gets everything else from Signalbox',
  help: `Usage: signalbox bootstrap [--xds HOST:PORT] [--node ID] [--cluster NAME] [--admin HOST:PORT]

Prints a bootstrap as JSON, for 'envoy -c'.

  --xds HOST:PORT     where Envoy reaches Signalbox' xDS server [127.0.0.1:18000]
  --node ID           Envoy's node id [envoy]
  --cluster NAME      Envoy's node cluster [signalbox]
  --admin HOST:PORT   Envoy's admin interface [127.0.0.1:9901]
`,
  async run(argv, { stdout }) {
    const { values } = parseOptions(argv, {
      xds: { type: 'string', default: '127.0.0.1:18000' },
      node: { type: 'string', default: 'envoy' },
      cluster: { type: 'string', default: 'signalbox' },
      admin: { type: 'string', default: '127.0.0.1:9901' },
    })
    const { node: nodeId, cluster } = values
    const xds = parseReachable(values.xds, '--xds')
    const admin = parseReachable(values.admin, '--admin')
    if (nodeId === '' || cluster === '')
      throw new UsageError('--node and --cluster must not be empty: Envoy needs both')
    stdout.write(
      `${JSON.stringify(compileBootstrap({ nodeId, cluster, admin, xds: { addresses: [xds] } }), null, 2)}\n`,
    )
    return 0
  },
}
