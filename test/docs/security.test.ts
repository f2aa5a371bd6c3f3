import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'

import { mintKey } from '../../src/control-plane/keys.ts'
import { KEY_KINDS } from '../../src/machineid/wire.ts'
import { redact } from '../../src/redact.ts'
import { PROJECT, readPage } from './markdown.ts'

/** The code block of docs/security.md, as a secret scanner would take it from there. */
let keysIn: (text: string) => string[]

beforeAll(async () => {
  const page = readPage('docs/security.md', readFileSync(join(PROJECT, 'docs/security.md'), 'utf8'))
  const code = stripTypeScriptTypes(page.blocks.find(({ language }) => language === 'ts')?.text ?? '')
  const module = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
    keysIn: typeof keysIn
  }
  keysIn = module.keysIn
})

describe('the scanner in docs/security.md', () => {
  test.each(KEY_KINDS)('finds every minted %s key, wherever it stands, and so does redact', (kind) => {
    for (let round = 0; round < 500; round++) {
      const { key } = mintKey(kind)
      const text = `MACHINEID_ORG_KEY=${key}\n{"key":"${key}"}\nx${key} (${key}). ${key}`
      expect(keysIn(text)).toEqual([key, key, key, key, key])
      expect(keysIn(redact(text))).toEqual([])
      expect(redact(text)).not.toContain(key.slice(-51))
    }
  })

  const { key } = mintKey('admin')
  const [, kind = '', id = '', secret = ''] = key.split('_')
  const at = Array.from(secret).findIndex((character, index) => character !== secret[index + 1])
  const swapped = `${secret.slice(0, at)}${secret[at + 1]}${secret[at]}${secret.slice(at + 2)}`
  test.each([
    ['another kind', key.replace(kind, 'root')],
    ['no kind', `org_${id}_${secret}`],
    ['a kind in capitals', key.replace(kind, 'ADMIN')],
    ['a short id', key.replace(id, id.slice(1))],
    ['a long id', key.replace(id, `${id}a`)],
    ['an id outside its alphabet', key.replace(id, `${id.slice(1)}1`)],
    ['a short secret', key.replace(secret, secret.slice(1))],
    ['a long secret', `${key}a`],
    ['a secret outside its alphabet', key.replace(secret, `-${secret.slice(1)}`)],
    ['a checksum in capitals', key.slice(0, -8) + key.slice(-8).replace(/[a-f]|\d/, 'A')],
    ['another checksum', key.slice(0, -1) + (key.endsWith('0') ? '1' : '0')],
    ['two characters of the secret swapped', key.replace(secret, swapped)],
    ['an org id', `o_${id}${id.slice(0, 8)}`],
    ['a caller token', `hpc_${secret}`],
    ['nothing', ''],
  ])('takes %s for no key', (_, text) => {
    expect(text).not.toBe(key)
    expect(keysIn(text)).toEqual([])
  })

  test('has a checksum that spots every single wrong character', () => {
    for (let at = key.length - 51; at < key.length; at++) {
      const wrong = key.slice(0, at) + (key[at] === '7' ? '8' : '7') + key.slice(at + 1)
      expect(keysIn(wrong)).toEqual([])
    }
  })
})
