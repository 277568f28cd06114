/**
 * What the fields of requests are (epp.md §8.3): a value that is refused here, llm-d's endpoint picker refuses too, whatever the engine would
 * do. Most engines refuse the same; vLLM takes some texts and numbers for true and false (`"add_generation_prompt": "true"`). null counts as
 * absent.
 */
import { compileShapes, type Shape } from '../body/json-shape.ts'

const TEXT: Shape = { types: ['text', 'null'] }
const FLAG: Shape = { types: ['flag', 'null'] }
const LIST: Shape = { types: ['list', 'null'] }
const OBJECT: Shape = { types: ['object', 'null'] }

/** Parts of a content may be bare texts: vLLM takes those. */
const CONTENT: Shape = {
  types: ['text', 'list', 'null'],
  elements: { types: ['object', 'text'], fields: { type: TEXT, text: TEXT } },
}
const MESSAGES: Shape = {
  types: ['list', 'null'],
  elements: { types: ['object'], fields: { role: TEXT, content: CONTENT } },
}
/** Texts, tokens, or lists of tokens; whether there is one at all is asked elsewhere. */
const PROMPT: Shape = {
  types: ['text', 'list', 'null'],
  alike: true,
  elements: { types: ['text', 'number', 'list'], elements: { types: ['number'] } },
}

const SHAPES = {
  chat: {
    fields: {
      messages: MESSAGES,
      tools: LIST,
      documents: LIST,
      chat_template: TEXT,
      return_assistant_tokens_mask: FLAG,
      continue_final_message: FLAG,
      add_generation_prompt: FLAG,
      chat_template_kwargs: OBJECT,
      cache_salt: TEXT,
    },
  },
  completions: { fields: { prompt: PROMPT, cache_salt: TEXT } },
  messages: { fields: { messages: MESSAGES, system: CONTENT, tools: LIST, cache_salt: TEXT } },
  conversations: {
    fields: { items: { types: ['list', 'null'], elements: { types: ['object'], fields: { role: TEXT } } } },
  },
  /** Nothing but what everybody has. */
  salted: { fields: { cache_salt: TEXT } },
} as const satisfies Readonly<Record<string, Shape>>

export const REQUEST_SHAPES = compileShapes(Object.values(SHAPES))

/** The node of an API's shape. */
export function shapeOf(name: keyof typeof SHAPES): number {
  return REQUEST_SHAPES.nodeOf[Object.keys(SHAPES).indexOf(name)]!
}
