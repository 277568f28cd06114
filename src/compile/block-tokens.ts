/** Of a block of prompts, whatever is configured. */
export const LEAST_BLOCK_TOKENS = 64
/** As llm-d estimates them. */
export const BYTES_PER_TOKEN = 4
