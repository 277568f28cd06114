import { describe, expect, it } from '@jest/globals'
import { multipartBoundary, parsePartHeaders } from './multipart-header.ts'

describe('multipartBoundary', () => {
  it.each([
    ['multipart/form-data; boundary=abc', 'abc'],
    ['Multipart/Form-Data;BOUNDARY=aBc', 'aBc'],
    ['multipart/form-data; charset=utf-8; boundary="a b:c"', 'a b:c'],
    ['multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW', '----WebKitFormBoundary7MA4YWxkTrZu0gW'],
    ['multipart/form-data ; boundary = "x\\y" ;', 'xy'],
    ['multipart/form-data; boundary=a=b/c?', 'a=b/c?'],
    [`multipart/form-data; boundary=${'x'.repeat(70)}`, 'x'.repeat(70)],
    [`multipart/form-data; boundary=${'x'.repeat(71)}`, undefined],
    ['multipart/form-data', undefined],
    ['multipart/form-data; boundary=', undefined],
    ['multipart/form-data; boundary=""', undefined],
    ['multipart/form-data; boundary="ends "', undefined],
    ['multipart/form-data; boundary=a; boundary=b', undefined],
    ['multipart/form-data; boundary="a', undefined],
    ['multipart/form-data; boundary="a"b', undefined],
    ['multipart/form-data; boundary="a\r\nb"', undefined],
    ['multipart/form-data; boundary=é', undefined],
    ['multipart/form-data, boundary=a', undefined],
    ['multipart/mixed; boundary=a', undefined],
    ['multipart/form-dataX; boundary=a', undefined],
    ['application/json', undefined],
    ['', undefined],
  ])('%s', (contentType, boundary) => {
    expect(multipartBoundary(contentType)).toBe(boundary)
  })
})

describe('parsePartHeaders', () => {
  const field = (disposition: string) => parsePartHeaders(`content-disposition: ${disposition}`)

  it.each([
    ['form-data; name="model"', ['model', 'model'], false],
    ['form-data; name=model', ['model', 'model'], false],
    ['FORM-DATA ;\tNAME = "model" ', ['model', 'model'], false],
    ['form-data; name="a;b=\\"c\\""', ['a;b=\\"c\\"', 'a;b="c"'], false],
    ['form-data; name="file"; filename="model"', ['file', 'file'], true],
    ['form-data; filename=""; name="x"', ['x', 'x'], true],
    ["form-data; name=x; filename*=utf-8''y", ['x', 'x'], true],
    ['form-data; name=""', ['', ''], false],
    ['form-data; name="é"', ['é', 'é'], false],
  ])('%s', (disposition, names, isFile) => {
    expect(field(disposition)).toEqual({ names, isFile, isPlain: true })
  })

  it.each([
    'form-data',
    'form-data; filename=x',
    'form-data; name=a; name=b',
    "form-data; name=a; name*=utf-8''model",
    'form-data; name*0=mo; name*1=del',
    'form-data; name="a',
    'form-data; name="a"b',
    'attachment; name=a',
    'form-datax; name=a',
    'form-data, name=a',
    '',
  ])('refuses %j', disposition => {
    expect(field(disposition)).toBeUndefined()
  })

  it.each([
    '',
    'content-type: text/plain',
    'content-disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b',
    'content-disposition: form-data;\r\n name=a',
    'content-disposition : form-data; name=a',
    'content-disposition: form-data; name="a\nb"',
    'content-disposition: form-data; name="a\0"',
    'no colon\r\ncontent-disposition: form-data; name=a',
  ])('refuses the headers %j', headers => {
    expect(parsePartHeaders(headers)).toBeUndefined()
  })

  it.each([
    ['base64', false],
    ['quoted-printable', false],
    ['8BIT', true],
    ['binary', true],
  ])('knows the transfer encoding %s', (encoding, isPlain) => {
    const headers = `Content-Transfer-Encoding: ${encoding}\r\ncontent-type: x/y\r\ncontent-disposition: form-data; name=a`
    expect(parsePartHeaders(headers)).toMatchObject({ isPlain })
  })
})
