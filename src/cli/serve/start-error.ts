/** What an option names cannot be used: an address is taken, a file is missing or is not what it should be. */
export class StartError extends Error {
  readonly code = 'start'
}

/** Runs what depends on an option of the command line. @throws StartError naming the option instead of any other error */
export async function startsWith<T>(option: string, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw new StartError(`${option}: ${reasonOf((error as Error).message)}`, { cause: error })
  }
}

const LISTEN_FAILURES: Readonly<Record<string, (address: string) => string>> = {
  EADDRINUSE: address => `${address} is in use`,
  EADDRNOTAVAIL: address => `${address} is no address of this machine`,
  // libuv says the same for a socket whose folder is missing.
  EACCES: address =>
    `no permission to listen on ${address}${address.startsWith('/') ? ', or its folder does not exist' : ''}`,
}

/** The system's errors of listening by their message, because an error that comes from another thread has nothing else. */
function reasonOf(message: string): string {
  const [, code = '', address = ''] = /^listen ([A-Z]+): .* (\S+)$/.exec(message) ?? []
  return LISTEN_FAILURES[code]?.(address) ?? message
}
