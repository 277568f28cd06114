import { z } from 'zod'
import { headerName as headerNameSchema, object } from '../../../config/kinds/common.ts'
import { headerName as headerKey } from '../../../extproc/header-view.ts'
import type { ProducerType } from './plugin-type.ts'

const COOKIE = headerKey('cookie')

const parameters = object({
  headerName: headerNameSchema.optional(),
  cookieName: z.string().min(1).optional(),
}).refine(
  ({ headerName, cookieName }) => (headerName === undefined) !== (cookieName === undefined),
  'needs either headerName or cookieName',
)

/** The session of a request, from a header or a cookie, for plug-ins that go by sessions (epp.md §3.6). */
export const sessionIdProducer: ProducerType = {
  type: 'session-id-producer',
  role: 'producer',
  parameters,
  produce(name, given) {
    const { headerName, cookieName = '' } = parameters.parse(given)
    const header = headerName === undefined ? COOKIE : headerKey(headerName)
    return {
      type: 'session-id-producer',
      produce({ headers, sessions }) {
        const value = headers?.get(header)
        if (value === undefined) return
        const session = (headerName === undefined ? cookieValue(value, cookieName) : value).trim()
        if (session !== '') sessions.set(name, session)
      },
    }
  },
}

/** '' when there is no such cookie. */
function cookieValue(cookies: string, name: string): string {
  for (const pair of cookies.split(';')) {
    const equals = pair.indexOf('=')
    if (equals >= 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1)
  }
  return ''
}
