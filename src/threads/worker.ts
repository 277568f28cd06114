/** A worker thread: a data path at the other end of a message port. */
import { parentPort, workerData } from 'node:worker_threads'
import { loadUserPlugins } from '../inference/scheduling/plugins/user-plugins.ts'
import { DataPath } from './data-path.ts'
import type { ToWorker, WorkerStart } from './messages.ts'

const port = parentPort
if (port === null) throw new Error('this module is for worker threads')
const start = workerData as WorkerStart
await loadUserPlugins(start.options.plugins)
const dataPath = new DataPath(start, message => port.postMessage(message))
port.on('message', (message: ToWorker) => dataPath.take(message))
await dataPath.listen()
