/**
 * node:http2 counts bytes that wait to be sent against a limit of a session (10 MB) and, beyond it, refuses even the headers that
 * come in: ENHANCE_YOUR_CALM. What may wait is bounded per stream here, so the limit is lifted. Megabytes.
 */
export const UNBOUNDED_SESSION_MEMORY = Number.MAX_SAFE_INTEGER
