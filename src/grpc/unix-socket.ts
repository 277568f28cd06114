/** Socket files: a path that a dead process left behind must not keep us from listening. */
import { lstat, rm } from 'node:fs/promises'
import { connect } from 'node:net'

/** Removes a socket file on which nobody answers. Rejects when somebody does, or when the file is something else. */
export async function removeStaleSocket(path: string): Promise<void> {
  let isSocket: boolean
  try {
    isSocket = (await lstat(path)).isSocket()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if (!isSocket) throw new Error(`${path} exists and is not a socket`)
  if (await isAnswered(path)) throw new Error(`another process listens on ${path}`)
  await rm(path, { force: true })
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
      // A full backlog (EAGAIN) means that somebody is there, if busy.
      else if (error.code === 'EAGAIN') resolve(true)
      else reject(error)
    })
  })
}
