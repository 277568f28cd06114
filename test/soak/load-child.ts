/**
 * The load of a soak as a process of its own: `node load-child.ts PORT REQUESTS PARALLEL`. Prints a line of JSON now and then and at the end:
 * `{"answered": n, "failures": {"<what it was instead of a 200>": n}}`. REQUESTS are answers; failed ones are sent again.
 */
import { Agent } from 'node:http'
import { post } from './post.ts'

const [port, requests, parallel] = process.argv.slice(2).map(Number) as [number, number, number]
const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
const failures: Record<string, number> = {}
let next = 0
let answered = 0
const tell = (): void => console.log(JSON.stringify({ answered, failures }))
const loop = async (): Promise<void> => {
  while (answered < requests) {
    const answer = await post(agent, port, next++, 0)
    if (answer === '200 0') answered++
    else failures[answer] = (failures[answer] ?? 0) + 1
  }
}
const timer = setInterval(tell, 1000)
await Promise.all(Array.from({ length: parallel }, loop))
clearInterval(timer)
tell()
agent.destroy()
