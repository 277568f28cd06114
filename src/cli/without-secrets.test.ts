import { expect, it } from '@jest/globals'
import { withoutSecrets } from './without-secrets.ts'

const NOTHING = { clusters: [], endpoints: [], listeners: [], routes: [], secrets: [], others: [] }

it('leaves out keys and passwords, wherever they stand, and nothing else', () => {
  const certificate = { certificateChain: { inlineString: 'CERT' }, privateKey: { inlineString: 'KEY' } }
  const raw = {
    '@type': 'type.googleapis.com/x',
    common_tls_context: {
      tls_certificates: [
        {
          certificate_chain: { inline_string: 'CERT' },
          private_key: { inline_bytes: 'S0VZ' },
          password: { inline_string: 'KEY' },
        },
        { private_key: { filename: '/etc/key.pem' } },
      ],
    },
  }
  const shown = withoutSecrets({
    ...NOTHING,
    listeners: [{ name: 'l', nested: raw }],
    secrets: [
      { name: 's', tlsCertificate: certificate },
      { name: 'g', genericSecret: { secrets: { a: { inlineString: 'KEY' } } } },
      { name: 't', sessionTicketKeys: { keys: [{ inlineBytes: 'S0VZ' }] } },
      { name: 'v', validationContext: { trustedCa: { inlineString: 'CERT' } } },
    ],
    others: [raw],
  })
  const text = JSON.stringify(shown)
  expect(text).not.toMatch(/KEY|S0VZ/)
  expect(text.match(/CERT/g)).toHaveLength(4)
  expect(text).toContain('/etc/key.pem')
  expect(text.match(/\(left out\)/g)).toHaveLength(7)
})
