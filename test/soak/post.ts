import { type Agent, request } from 'node:http'

const BODY_FILLER = 'What was said before in this conversation. '

/** One request; gives `<status> <number of events>`, or the error's text. */
export function post(agent: Agent, port: number, i: number, events: number): Promise<string> {
  const content = `question ${i}: ${BODY_FILLER.repeat(1 + (i % 50))}`
  const body = JSON.stringify({ messages: [{ role: 'user', content }], model: 'm', stream: events > 0 })
  return new Promise(resolve => {
    const outgoing = request(
      {
        agent,
        port,
        host: '127.0.0.1',
        method: 'POST',
        path: '/v1/chat/completions',
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          ...(events > 0 ? { 'x-events': events } : {}),
        },
      },
      incoming => {
        let seen = 0
        incoming.setEncoding('latin1').on('data', (text: string) => (seen += text.split('data:').length - 1))
        incoming.on('end', () => resolve(`${incoming.statusCode} ${seen}`))
        incoming.on('error', error => resolve(String(error)))
      },
    )
    outgoing.on('error', error => resolve(String(error)))
    outgoing.end(body)
  })
}
