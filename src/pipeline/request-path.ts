import { headerName, type HeaderView } from '../extproc/header-view.ts'

const PATH = headerName(':path')
/** Where a gateway may say what the path was, where it has no `:path` (epp.md §1.6). */
const OTHER_PATHS = [headerName('x-original-path'), headerName('x-forwarded-path')]
const DEFAULT_PATH = '/v1/completions'

/** A request's path with its query, wherever the gateway says it. */
export function requestPath(headers: HeaderView): string {
  const path = headers.common(PATH)
  if (path !== undefined) return path
  for (const name of OTHER_PATHS) {
    const other = headers.get(name)
    if (other !== undefined) return other
  }
  return DEFAULT_PATH
}
