import { explainSystemError } from '../system-error.ts'

/** What an option names cannot be used: an address is taken, a file is missing or is not what it should be. */
export class StartError extends Error {
  readonly code = 'start'
}

/**
 * Runs what depends on an option of the command line; `more` may add to what is told. @throws StartError naming the option instead of
 * any other error
 */
export async function startsWith<T>(
  option: string,
  run: () => T | Promise<T>,
  more: (why: string) => string = why => why,
): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw new StartError(`${option}: ${more(explainSystemError((error as Error).message))}`, { cause: error })
  }
}
