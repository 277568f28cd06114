import { X509Certificate, createPrivateKey } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { selfSigned } from './self-signed.ts'

describe('selfSigned', () => {
  it('makes a certificate that node reads, signed by its own key', () => {
    const { cert, key } = selfSigned(['signalbox.example', 'localhost', '127.0.0.1', '::1'])
    const certificate = new X509Certificate(cert)
    expect(certificate.subject).toBe('CN=signalbox.example')
    expect(certificate.issuer).toBe(certificate.subject)
    expect(certificate.checkPrivateKey(createPrivateKey(key))).toBe(true)
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.ca).toBe(false)
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' })
  })

  it('names hosts and addresses of both families', () => {
    const certificate = new X509Certificate(
      selfSigned(['a.example', '*.b.example', '10.1.2.3', '::1', 'fe80::1:0:2', '1:2:3:4:5:6:7:8']).cert,
    )
    expect(certificate.checkHost('a.example')).toBe('a.example')
    expect(certificate.checkHost('x.b.example')).toBe('*.b.example')
    expect(certificate.checkHost('c.example')).toBeUndefined()
    for (const address of ['10.1.2.3', '::1', 'fe80::1:0:2', '1:2:3:4:5:6:7:8']) {
      expect(certificate.checkIP(address)).toBe(address)
    }
    expect(certificate.checkIP('10.1.2.4')).toBeUndefined()
  })

  it('is valid now and for the days asked, beyond 2049 too', () => {
    const now = Date.now()
    for (const days of [1, 3650, 20_000]) {
      const { validFromDate, validToDate } = new X509Certificate(selfSigned(['a'], days).cert)
      expect(validFromDate.getTime()).toBeLessThan(now)
      expect(Math.abs(validToDate.getTime() - now - days * 86_400_000)).toBeLessThan(60_000)
    }
  })

  it('never repeats a serial number or a key', () => {
    const [a, b] = [selfSigned(['a']), selfSigned(['a'])]
    expect(new X509Certificate(a.cert).serialNumber).not.toBe(new X509Certificate(b.cert).serialNumber)
    expect(a.key).not.toBe(b.key)
  })

  it('does without names', () => {
    expect(new X509Certificate(selfSigned([]).cert).subjectAltName).toBeUndefined()
  })
})
