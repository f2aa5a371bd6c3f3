import {
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'

import { readSeen, seenFileIn, writeSeen, type Seen } from '../../../src/store/postgres/seen-file.ts'

const PLACE = { server: '7', relation: '1/2', timeline: 3 }
const KNOWN = { storeId: 's', generation: 5, place: PLACE, change: { orgId: 'o', seq: 1, hash: 'h' } }

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'holdpoint-seen-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  file = seenFileIn(dir)
})

test.each<[string, Seen]>([
  ['what a node knows', { known: KNOWN, begun: 0 }],
  ['with a generation that it began', { known: KNOWN, begun: 9 }],
  ['a generation that it began before it knew anything', { known: undefined, begun: 9 }],
])('%s is read as it was written', (_name, seen) => {
  writeSeen(file, seen)
  expect(readSeen(file)).toMatchObject(seen)
})

test('a file that names no generation that was begun is read as before', () => {
  writeFileSync(file, JSON.stringify(KNOWN))
  expect(readSeen(file)).toMatchObject({ known: KNOWN, begun: 0 })
})

test('without a file nothing was seen', () => {
  expect(readSeen(file)).toEqual({ known: undefined, begun: 0 })
})

test.each(['', '{}', '{"generation":5,"begun":9}', '{"begun":"9"}'])('%j is no such file', (text) => {
  writeFileSync(file, text)
  expect(() => readSeen(file)).toThrow(expect.objectContaining({ code: 'STORE_SEEN_UNREADABLE' }))
})

test('it is never written through a link that lies where its draft is made', () => {
  const other = join(dir, 'other')
  writeFileSync(other, 'as it was')
  symlinkSync(other, `${file}.new`)
  writeSeen(file, { known: KNOWN, begun: 0 })
  expect(readFileSync(other, 'utf8')).toBe('as it was')
  expect(readSeen(file)).toMatchObject({ known: KNOWN })
  expect(readdirSync(dir).toSorted()).toEqual(['other', 'store-seen.json'])
})

test.skipIf(process.getuid?.() !== 0)(
  "written by root, it is the data folder's owner's, and nobody else reads it",
  () => {
    const SERVICE = 12_345
    chownSync(dir, SERVICE, SERVICE)
    for (const begun of [0, 9]) {
      writeSeen(file, { known: KNOWN, begun })
      const { uid, gid, mode } = statSync(file)
      expect({ uid, gid, mode: mode & 0o777 }).toEqual({ uid: SERVICE, gid: SERVICE, mode: 0o600 })
    }
  },
)
