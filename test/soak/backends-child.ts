/** Backends of a soak as a process of their own; prints their addresses and ends with its standard input. */
import { startStreamingBackend } from './streaming-backend.ts'

const backends = await Promise.all(Array.from({ length: 4 }, startStreamingBackend))
console.log(JSON.stringify(backends.map(({ address }) => address)))
process.stdin.on('end', () => process.exit(0)).resume()
