import { z } from 'zod'

/** Attributes of scrapes have the names that the configuration of their extractor gives them. */
export const attributeKey = z
  .string()
  .min(1)
  .refine(key => !key.includes('/'), 'must not contain "/": say the producer by `producer`')

export const producer = z.string().optional()
