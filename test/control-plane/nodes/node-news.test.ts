import { expect, onTestFinished, test } from 'vitest'

import { followNews } from '../../../src/control-plane/nodes/node-news.ts'
import type { NewsListener, NodeMessage } from '../../../src/control-plane/nodes/shared-store.ts'
import type { DecisionRecord } from '../../../src/control-plane/records.ts'
import { createLogger } from '../../../src/log.ts'
import { decisionRecord, ORG } from '../../contract/control-plane-records.ts'

function follow(wanted: readonly string[]) {
  let heard: NewsListener | undefined
  const decided: DecisionRecord[] = []
  const told: NodeMessage[][] = []
  const news = followNews({
    news: {
      listen: (listener) => {
        heard = listener
        return () => {}
      },
      tell: async (messages) => void told.push([...messages]),
    },
    log: createLogger({ level: 'silent' }),
    committed: () => {},
    decided: (records) => void decided.push(...records),
    wantsDecisionsOf: () => new Set(wanted),
    superseded: () => {},
    lost: () => {},
  })
  onTestFinished(news.close)
  return { news, fromOthers: (records: readonly DecisionRecord[]) => heard?.decided(records), decided, told }
}

test('decisions of this node and of others, whose ranges overlap, are told once each', () => {
  const { news, fromOthers, decided } = follow([ORG.orgId])
  const [one, two, three] = [1, 2, 3].map((atMs) => decisionRecord(atMs)) as [
    DecisionRecord,
    ...DecisionRecord[],
  ]
  const sibling = { ...one, ordinal: 1 }
  news.decided([one, sibling])
  fromOthers([one, two as DecisionRecord])
  fromOthers([two as DecisionRecord, three as DecisionRecord])
  news.decided([three as DecisionRecord])
  expect(decided).toEqual([one, sibling, two, three])
})

test('decisions of orgs that nobody listens to are told to nobody', () => {
  const { news, decided } = follow(['another'])
  news.decided([decisionRecord(1)])
  expect(decided).toEqual([])
})

test('streams that were opened together are told to other nodes together; ends and other evidence are not', async () => {
  const { news, told } = follow([])
  const of = (replica: string) => ({
    orgId: 'org',
    keyId: 'key',
    replica,
    atMs: 1,
    keyKind: 'runtime' as const,
  })
  news.observed({
    seen: [{ ...of('r/1'), streamUp: true }, { ...of('r/2'), streamUp: false }, of('r/3')],
  })
  news.observed({ seen: [{ ...of('r/4'), streamUp: true }] })
  await expect.poll(() => told.length).toBe(1)
  expect(told[0]?.map(({ by }) => by)).toEqual([
    { orgId: 'org', keyId: 'key', replica: 'r/1', atMs: 1 },
    { orgId: 'org', keyId: 'key', replica: 'r/4', atMs: 1 },
  ])
})
