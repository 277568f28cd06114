/**
 * Errors of users' own plug-ins which must not be the request's: the first one of each plug-in type and method is told on each thread, those
 * after it are not, because they may come with every request.
 */
export type UserFaultSink = (text: string, error: unknown) => void

let sink: UserFaultSink = () => {}
const told = new Set<string>()

/** Where faults of this thread are told. Default: nowhere. */
export function tellUserFaults(to: UserFaultSink): void {
  sink = to
}

/** The plug-in's method has thrown, or returned what makes no sense. */
export function userFault(type: string, method: string, error: unknown): void {
  const text = `plug-in "${type}": ${method} has failed; further failures are not logged`
  if (told.has(text)) return
  told.add(text)
  sink(text, error)
}
