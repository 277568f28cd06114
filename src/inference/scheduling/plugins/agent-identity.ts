import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import type { SettingType } from './plugin-type.ts'

/** Headers in which coding agents name their session, the first that is there. */
const SESSION_HEADERS = ['x-claude-code-session-id', 'x-session-affinity', 'session-id', 'session_id']

const parameters = object({
  additionalSessionHeaders: z
    .array(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be a header name'))
    .default([]),
})

/** The headers, lower case, in the order in which they are looked at. */
export function agentHeaders(given: unknown): readonly string[] {
  return [...parameters.parse(given).additionalSessionHeaders.map(name => name.toLowerCase()), ...SESSION_HEADERS]
}

/** Whom a request without a fairness header belongs to: the session of the agent that sends it (epp.md §3.11). */
export const agentIdentity: SettingType = { type: 'agent-identity', role: 'request-header', parameters }
