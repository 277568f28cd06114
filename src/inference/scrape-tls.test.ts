import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { once } from 'node:events'
import { copyFile, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { writeCertificates } from '../../test/support/certificates.ts'
import { makeTempFolder, type TempFolder } from '../../test/support/temp-folder.ts'
import { waitFor } from '../../test/support/wait-for.ts'
import type { ScrapeTlsPlan } from './pool-plan.ts'
import { Scraper } from './scraper.ts'
import { ScrapeTls } from './scrape-tls.ts'
import { LocalPool, poolPlan } from './testing.ts'

const PAGE = 'vllm:num_requests_waiting 2\nvllm:num_requests_running 3\nvllm:kv_cache_usage_perc 0.5\n'

describe('scrapes over TLS', () => {
  let folder: TempFolder
  let server: Server
  let scraper: Scraper | undefined
  const file = (name: string) => join(folder.path, name)

  beforeEach(async () => {
    folder = await makeTempFolder()
    await writeCertificates(folder.path)
  })
  afterEach(async () => {
    scraper?.stop()
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
    await folder.remove()
  })

  /** A replica with this certificate; it wants to see the client's where `verifies`. */
  async function replica(name: string, verifies = false): Promise<void> {
    const ca = verifies ? { ca: await readFile(file('client.crt')), requestCert: true } : {}
    const pair = { cert: await readFile(file(`${name}.crt`)), key: await readFile(file(`${name}.key`)) }
    server = createServer({ ...pair, ...ca }, (request, response) => {
      if (request.url === '/metrics') response.end(PAGE)
      else response.writeHead(404).end()
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
  }

  function scrape(tls: ScrapeTlsPlan | undefined) {
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const plan = { intervalMs: 20, timeoutMs: 5000, models: false, scheme: 'https', ...(tls && { tls }) } as const
    const pool = new LocalPool(poolPlan([address], { scrape: plan }), { releaseBy: 'scrape' })
    const made = new Scraper(pool)
    scraper = made
    made.start()
    return {
      works: async () => {
        await waitFor('a page', () => made.stats.good > 1)
        expect(made.stats.failed).toBe(0)
        expect(pool.snapshot()[0]).toMatchObject({ waiting: 2, running: 3, kvUsage: 0.5, state: 'ready' })
      },
      failsWith: async (what: RegExp) => {
        await waitFor('failures', () => made.stats.failed > 0)
        expect(made.stats.good).toBe(0)
        expect(made.stats.lastError).toMatch(what)
      },
    }
  }

  it('read a page, and verify nobody where nothing says so', async () => {
    await replica('stranger')
    await scrape(undefined).works()
  })

  it('verify the replica by an authority', async () => {
    await replica('server')
    await scrape({ insecureSkipVerify: false, caCertPath: file('server.crt') }).works()
  })

  it('refuse a replica whose authority is another', async () => {
    await replica('stranger')
    await scrape({ insecureSkipVerify: false, caCertPath: file('server.crt') }).failsWith(/certificate/)
  })

  it('show a certificate of their own', async () => {
    await replica('server', true)
    const mine = { certPath: file('client.crt'), keyPath: file('client.key') }
    await scrape({ insecureSkipVerify: true, ...mine }).works()
  })

  it('fail, and throw nothing, while a file is missing; they work once it is there', async () => {
    await replica('server')
    await copyFile(file('server.crt'), file('kept.crt'))
    await rm(file('server.crt'))
    const { failsWith } = scrape({ insecureSkipVerify: false, caCertPath: file('server.crt') })
    await failsWith(/server\.crt/)
    await copyFile(file('kept.crt'), file('server.crt'))
    await waitFor('a page', () => scraper!.stats.good > 0, { timeoutMs: 20_000 })
  })

  it('read their files anew only when they have changed', async () => {
    await replica('server')
    const tls = new ScrapeTls({ insecureSkipVerify: false, caCertPath: file('server.crt') })
    expect(tls.context()).toBe(tls.context())
  })
})
