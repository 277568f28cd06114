import type { z } from 'zod'
import { badRequest } from './api-error.ts'

const decoder = new TextDecoder('utf-8', { fatal: true })

/** A request body as checked JSON. Throws an `ApiError` 400 that lists everything that is wrong with it. */
export function parseJsonBody<T>(body: Uint8Array, schema: z.ZodType<T>): T {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(body))
  } catch (error) {
    throw badRequest(`Invalid JSON in the request body: ${error instanceof Error ? error.message : String(error)}`)
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const { issues } = result.error
  const lines = issues.map(issue =>
    issue.path.length > 0 ? `${issue.path.join('.')}: ${issue.message}` : issue.message,
  )
  const path = issues[0]?.path[0]
  throw badRequest(
    `${issues.length} validation error${issues.length > 1 ? 's' : ''}: ${lines.join('; ')}`,
    path === undefined ? null : String(path),
  )
}
