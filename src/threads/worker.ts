/** A worker thread: a data path at the other end of a message port. */
import { flushCompileCache } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { loadUserPlugins } from '../inference/scheduling/plugins/user-plugins.ts'
import { DataPath } from './data-path.ts'
import { PlanReceiver } from './plan-wire.ts'
import type { ToWorkerWire, WireStart } from './worker-wire.ts'

const port = parentPort
if (port === null) throw new Error('this module is for worker threads')
// As src/cli/main.ts does: this thread loads modules that the main thread does not.
flushCompileCache()
const receiver = new PlanReceiver()
const wire = workerData as WireStart
const start = { ...wire, plans: wire.plans.map(plan => receiver.unpack(plan)) }
await loadUserPlugins(start.options.plugins)
const dataPath = new DataPath(start, message => port.postMessage(message))
port.on('message', (message: ToWorkerWire) =>
  dataPath.take(message.type === 'run' ? { ...message, share: receiver.unpack(message.share) } : message),
)
await dataPath.listen()
