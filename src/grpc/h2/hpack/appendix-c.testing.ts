/** The examples of RFC 7541 appendix C: series of blocks on one connection. */
import type { Field } from './plain-hpack.testing.ts'

interface Example {
  readonly block: string
  readonly fields: readonly Field[]
  /** The dynamic table afterwards, newest first. */
  readonly table: readonly Field[]
  readonly tableBytes: number
}

interface Series {
  readonly section: string
  readonly capacity: number
  readonly examples: readonly Example[]
}

const GET_HTTP: readonly Field[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
]
const AUTHORITY: Field = [':authority', 'www.example.com']
const NO_CACHE: Field = ['cache-control', 'no-cache']
const CUSTOM: Field = ['custom-key', 'custom-value']
const CUSTOM_HEADER: Field = ['custom-key', 'custom-header']
const PRIVATE: Field = ['cache-control', 'private']
const DATE: Field = ['date', 'Mon, 21 Oct 2013 20:13:21 GMT']
const NEXT_DATE: Field = ['date', 'Mon, 21 Oct 2013 20:13:22 GMT']
const LOCATION: Field = ['location', 'https://www.example.com']
const GZIP: Field = ['content-encoding', 'gzip']
const COOKIE: Field = ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1']

function requests(section: string, blocks: readonly [string, string, string]): Series {
  const [first, second, third] = blocks
  const https: readonly Field[] = [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
  ]
  return {
    section,
    capacity: 4096,
    examples: [
      { block: first, fields: [...GET_HTTP, AUTHORITY], table: [AUTHORITY], tableBytes: 57 },
      { block: second, fields: [...GET_HTTP, AUTHORITY, NO_CACHE], table: [NO_CACHE, AUTHORITY], tableBytes: 110 },
      { block: third, fields: [...https, AUTHORITY, CUSTOM], table: [CUSTOM, NO_CACHE, AUTHORITY], tableBytes: 164 },
    ],
  }
}

function responses(section: string, blocks: readonly [string, string, string]): Series {
  const [first, second, third] = blocks
  const moved: Field = [':status', '302']
  const again: Field = [':status', '307']
  return {
    section,
    capacity: 256,
    examples: [
      {
        block: first,
        fields: [moved, PRIVATE, DATE, LOCATION],
        table: [LOCATION, DATE, PRIVATE, moved],
        tableBytes: 222,
      },
      {
        block: second,
        fields: [again, PRIVATE, DATE, LOCATION],
        table: [again, LOCATION, DATE, PRIVATE],
        tableBytes: 222,
      },
      {
        block: third,
        fields: [[':status', '200'], PRIVATE, NEXT_DATE, LOCATION, GZIP, COOKIE],
        table: [COOKIE, GZIP, NEXT_DATE],
        tableBytes: 215,
      },
    ],
  }
}

function single(section: string, block: string, field: Field, table: readonly Field[], tableBytes: number): Series {
  return { section, capacity: 4096, examples: [{ block, fields: [field], table, tableBytes }] }
}

export const APPENDIX_C: readonly Series[] = [
  single('C.2.1', '400a637573746f6d2d6b65790d637573746f6d2d686561646572', CUSTOM_HEADER, [CUSTOM_HEADER], 55),
  single('C.2.2', '040c2f73616d706c652f70617468', [':path', '/sample/path'], [], 0),
  single('C.2.3', '100870617373776f726406736563726574', ['password', 'secret'], [], 0),
  single('C.2.4', '82', [':method', 'GET'], [], 0),
  requests('C.3', [
    '828684410f7777772e6578616d706c652e636f6d',
    '828684be58086e6f2d6361636865',
    '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
  ]),
  requests('C.4', [
    '828684418cf1e3c2e5f23a6ba0ab90f4ff',
    '828684be5886a8eb10649cbf',
    '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
  ]),
  responses('C.5', [
    '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54' +
      '6e1768747470733a2f2f7777772e6578616d706c652e636f6d',
    '4803333037c1c0bf',
    '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a6970' +
      '7738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b20' +
      '76657273696f6e3d31',
  ]),
  responses('C.6', [
    '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
    '4883640effc1c0bf',
    '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab' +
      '77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
  ]),
]
