import { createServer, type Socket } from 'node:net'
import { afterEach, expect, it } from '@jest/globals'
import { Publisher, Router } from 'zeromq'
import { waitFor } from '../../../../test/support/wait-for.ts'
import { commandBytes, FrameReader, messageBytes, propertyBytes } from './frames.ts'
import { greeting } from './greeting.ts'
import { ZmtpConnection, type ZmtpOptions } from './zmtp-connection.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

function open(port: number, changes: Partial<ZmtpOptions> = {}) {
  const seen = { ready: false, messages: [] as string[][], error: undefined as Error | undefined }
  const connection = new ZmtpConnection({
    host: '127.0.0.1',
    port,
    type: 'SUB',
    topics: ['kv@'],
    handshakeMs: 20_000,
    heartbeatMs: 20_000,
    onReady: () => (seen.ready = true),
    onMessage: frames => seen.messages.push(frames.map(frame => frame.toString('latin1'))),
    onClosed: error => (seen.error = error),
    ...changes,
  })
  closers.push(() => connection.close())
  return { connection, seen }
}

/** A peer that sends these bytes, in pieces of `size`, and keeps what it gets. */
async function peer(
  bytes: Buffer,
  size = bytes.length,
): Promise<{ readonly port: number; readonly got: () => Buffer }> {
  let got = Buffer.alloc(0)
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (data: Buffer) => (got = Buffer.concat([got, data])))
    for (let at = 0; at < bytes.length; at += size) socket.write(bytes.subarray(at, at + size))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as { port: number }).port, got: () => got }
}

const ready = (type: string) => commandBytes('READY', propertyBytes({ 'Socket-Type': type }))
const LONG = 'x'.repeat(70_000)

it('takes what libzmq publishes, of the topics that were asked for', async () => {
  const publisher = new Publisher({ linger: 0 })
  closers.push(() => publisher.close())
  await publisher.bind('tcp://127.0.0.1:*')
  const { seen } = open(Number(publisher.lastEndpoint!.split(':').at(-1)))
  await waitFor('a first message', async () => {
    await publisher.send(['other', 'no'])
    await publisher.send(['kv@first', ''])
    return seen.messages.length > 0
  })
  await publisher.send(['kv@a@b', Buffer.alloc(8, 1), LONG])
  await waitFor('the long message', () => seen.messages.some(([topic]) => topic === 'kv@a@b'))
  expect(seen.messages.filter(([topic]) => topic !== 'kv@first')).toEqual([['kv@a@b', '\x01'.repeat(8), LONG]])
  publisher.close()
  await waitFor('the end', () => seen.error !== undefined)
  expect(seen.error!.message).toMatch(/closed|ECONNRESET/)
})

it('talks with a ROUTER of libzmq', async () => {
  const router = new Router({ linger: 0 })
  closers.push(() => router.close())
  await router.bind('tcp://127.0.0.1:*')
  const { connection, seen } = open(Number(router.lastEndpoint!.split(':').at(-1)), { type: 'DEALER', topics: [] })
  await waitFor('ready', () => seen.ready)
  connection.send([Buffer.alloc(0), Buffer.from('from')])
  const [identity, empty, question] = await router.receive()
  expect([empty!.length, question!.toString()]).toEqual([0, 'from'])
  await router.send([identity!, Buffer.alloc(0), 'answer'])
  await waitFor('an answer', () => seen.messages.length > 0)
  expect(seen.messages).toEqual([['', 'answer']])
})

it('reads any split of the stream, and answers pings', async () => {
  const ping = commandBytes('PING', Buffer.from([0, 9, 0x61, 0x62]))
  const bytes = Buffer.concat([greeting(), ready('PUB'), ping, messageBytes([Buffer.from('kv@'), Buffer.from(LONG)])])
  for (const size of [1, 7, bytes.length]) {
    const { port, got } = await peer(size === 1 ? bytes.subarray(0, 2000) : bytes, size)
    const { seen } = open(port)
    await waitFor('a pong', () => got().includes('PONGab'))
    if (size > 1) await waitFor('the message', () => seen.messages.length === 1)
    expect(got().includes('SUBSCRIBEkv@')).toBe(true)
  }
})

it('subscribes by message where the peer speaks 3.0', async () => {
  const old = greeting()
  old[11] = 0
  const { port, got } = await peer(Buffer.concat([old, ready('XPUB')]))
  open(port)
  await waitFor('a subscription', () => got().includes('\x00\x04\x01kv@'))
})

it.each([
  ['another protocol', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /does not speak ZMTP/],
  ['an old version', Buffer.concat([greeting().fill(1, 10, 11), ready('PUB')]), /ZMTP 1/],
  ['another mechanism', Buffer.concat([greeting().fill('CURVE', 12, 17)]), /CURVE/],
  ['a wrong socket', Buffer.concat([greeting(), ready('PULL')]), /PULL/],
  ['no socket type', Buffer.concat([greeting(), commandBytes('READY')]), /no type/],
  ['a property that is cut off', Buffer.concat([greeting(), commandBytes('READY', Buffer.from([9, 1]))]), /cut off/],
  ['a refusal', Buffer.concat([greeting(), commandBytes('ERROR', Buffer.from('\x02no'))]), /refuses: no/],
  ['a long refusal', Buffer.concat([greeting(), commandBytes('ERROR', Buffer.from(LONG))]), /refuses: x{256}$/],
  ['a wrong socket, at length', Buffer.concat([greeting(), ready(LONG)]), /socket is x{256}$/],
  ['a message too early', Buffer.concat([greeting(), messageBytes([Buffer.from('x')])]), /before READY/],
  ['READY twice', Buffer.concat([greeting(), ready('PUB'), ready('PUB')]), /twice/],
  ['unknown flags', Buffer.concat([greeting(), ready('PUB'), Buffer.from([8, 0])]), /flags/],
  ['a command in parts', Buffer.concat([greeting(), ready('PUB'), Buffer.from([5, 0])]), /flags/],
  [
    'an endless frame',
    Buffer.concat([greeting(), ready('PUB'), Buffer.from([2, 1, 0, 0, 0, 0, 0, 0, 0])]),
    /larger than/,
  ],
  ['a huge frame', Buffer.concat([greeting(), ready('PUB'), Buffer.from([3, 0, 0, 0, 0, 9, 0, 0, 0])]), /larger than/],
  ['many frames', Buffer.concat([greeting(), ready('PUB'), messageBytes(Array(9).fill(Buffer.alloc(0)))]), /frames/],
])('closes on %s', async (_, bytes, message) => {
  const { port } = await peer(bytes)
  const { seen } = open(port)
  await waitFor('the end', () => seen.error !== undefined)
  expect(seen.error!.message).toMatch(message)
})

it('gives up on a silent peer: before and after it was ready', async () => {
  const mute = await peer(Buffer.alloc(0))
  const first = open(mute.port, { handshakeMs: 50 })
  await waitFor('the end', () => first.seen.error !== undefined)
  expect(first.seen.error!.message).toMatch(/not ready/)
  const deaf = await peer(Buffer.concat([greeting(), ready('PUB')]))
  const second = open(deaf.port, { heartbeatMs: 50 })
  await waitFor('the end', () => second.seen.error !== undefined)
  expect(second.seen.error!.message).toMatch(/silent/)
  expect(deaf.got().includes('PING')).toBe(true)
})

it('a receiver that takes long lets others have their turns', async () => {
  const message = messageBytes([Buffer.from('kv@'), Buffer.from('x')])
  const { port } = await peer(Buffer.concat([greeting(), ready('PUB'), ...Array<Buffer>(20).fill(message)]))
  let taken = 0
  const turns = new Set<number>()
  let turn = 0
  const count = setInterval(() => turn++, 1)
  closers.push(() => clearInterval(count))
  const { seen } = open(port, {
    onMessage: () => {
      taken++
      turns.add(turn)
      const until = performance.now() + 15
      while (performance.now() < until);
    },
  })
  await waitFor('all', () => taken === 20)
  expect(seen.error).toBeUndefined()
  expect(turns.size).toBeGreaterThan(10)
})

it('keeps no more than an incomplete frame', () => {
  const seen: number[] = []
  const reader = new FrameReader(
    { command: () => {}, message: frames => seen.push(frames.length) },
    { maxMessageBytes: 100, maxFrames: 3 },
  )
  const bytes = messageBytes([Buffer.from('a'), Buffer.from('b')])
  for (const byte of Buffer.concat([bytes, bytes])) reader.feed(Buffer.from([byte]))
  expect(seen).toEqual([2, 2])
  // The limit is for all frames together.
  expect(() => reader.feed(messageBytes([Buffer.alloc(60), Buffer.alloc(60)]))).toThrow(/larger/)
})

it('what is held waits in TCP, and goes on in order', async () => {
  const text = 'x'.repeat(1 << 20)
  const messages = Array.from({ length: 64 }, (_, i) => messageBytes([Buffer.from(`kv@${i}`), Buffer.from(text)]))
  const sockets: Socket[] = []
  const server = createServer(socket => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.write(Buffer.concat([greeting(), ready('PUB'), ...messages]))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as { port: number }
  const { connection, seen } = open(port, {
    // A sign of life that does not come because we do not look is no death.
    heartbeatMs: 20,
    onMessage: frames => {
      seen.messages.push([frames[0]!.toString()])
      connection.hold()
    },
  })
  await waitFor('the first', () => seen.messages.length === 1)
  // The kernel takes what it has room for.
  let waiting = -1
  let still = 0
  await waitFor('no more to be taken', () => {
    const now = sockets[0]!.writableLength
    still = now === waiting ? still + 1 : 0
    waiting = now
    return still === 20
  })
  expect(waiting).toBeGreaterThan(16 << 20)
  expect(seen.messages.length).toBe(1)
  await waitFor('the others', () => {
    connection.release()
    return seen.messages.length === 64
  })
  expect(seen.messages.map(([topic]) => topic)).toEqual(messages.map((_, i) => `kv@${i}`))
  expect(seen.error).toBeUndefined()
})
