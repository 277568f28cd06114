type Explain = (name: string) => string

const LISTEN_FAILURES: Readonly<Record<string, Explain>> = {
  EADDRINUSE: address => `${address} is in use`,
  EADDRNOTAVAIL: address => `${address} is no address of this machine`,
  // libuv says the same for a socket whose folder is missing.
  EACCES: address =>
    `no permission to listen on ${address}${address.startsWith('/') ? ', or its folder does not exist' : ''}`,
}

const FILE_FAILURES: Readonly<Record<string, Explain>> = {
  ENOENT: file => `there is no file ${file}`,
  ENOTDIR: file => `there is no file ${file}: a part of its path is no folder`,
  EACCES: file => `no permission to read ${file}`,
  EPERM: file => `no permission to read ${file}`,
  EISDIR: () => 'this is a folder, but a file is needed',
}

/**
 * What the system says of listening and of files, in words; anything else as it is. By the message, because an error that comes from
 * another thread has nothing else. grpc-js has the message in brackets.
 */
export function explainSystemError(message: string): string {
  const [, listen = '', address = ''] =
    /(?:^|\[)listen ([A-Z]+): .* ([^\s\]]+|\[[^\s\]]+\]:\d+)\]?$/.exec(message) ?? []
  const [, code = '', file = ''] = /^([A-Z]+): [^,]*, (?:open|stat|lstat|read|access)(?: '(.*)')?$/.exec(message) ?? []
  return (
    LISTEN_FAILURES[listen]?.(address.replace(/^([^[]*:.*):(\d+)$/, '[$1]:$2')) ??
    FILE_FAILURES[code]?.(file) ??
    message
  )
}
