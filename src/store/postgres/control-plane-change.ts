import type { ApprovalCounts, ApprovalRecord } from '../../control-plane/approvals/approval-store.ts'
import type { AuditRow } from '../../control-plane/records.ts'
import type { SessionRecord } from '../../control-plane/sessions/session-store.ts'
import type { Change, ControlPlaneStore, OrgSnapshot, Wanted } from '../../control-plane/store.ts'
import { nextAuditRows } from '../audit-rows.ts'
import * as rows from '../control-plane-rows.ts'
import type { DeviceFinder } from './control-plane-selection.ts'
import type { Database } from './database.ts'
import type { Session } from './session.ts'
import type { News } from './news.ts'
import type { OrgTurns } from './org-turns.ts'
import { insertAll, jsonRows, putAll, rowsOf, upsertAll } from './statements.ts'
import { auditWithStops } from './stops.ts'
import { untilItGoesThrough } from './try-again.ts'

/** The parts of a change that are kept elsewhere. */
export interface ChangeParts {
  readonly finder: DeviceFinder
  readonly sessions: {
    readonly find: (session: Session, orgId: string, sessionId: string) => Promise<SessionRecord | undefined>
    /** Oldest first. */
    readonly open: (session: Session, orgId: string) => Promise<readonly SessionRecord[]>
    readonly write: (session: Session, records: readonly SessionRecord[] | undefined) => Promise<void>
  }
  readonly approvals: {
    readonly read: (session: Session, orgId: string, ids: readonly string[]) => Promise<ApprovalRecord[]>
    readonly counts: (session: Session, orgId: string, keyId: string | undefined) => Promise<ApprovalCounts>
    readonly write: (
      session: Session,
      orgId: string,
      records: readonly ApprovalRecord[] | undefined,
      keepSpare: number | undefined,
    ) => Promise<void>
  }
  readonly news: Pick<News, 'note' | 'committed'>
  readonly turns: OrgTurns
}

/**
 * The one way anything but evidence is written. The org's row is locked first, so that all changes of one org are in
 * one order, whichever node makes them: what is read after it stays as it is until COMMIT. Three round trips.
 */
export function createChange(database: Database, parts: ChangeParts): ControlPlaneStore['change'] {
  const attempt = <T>(
    orgId: string,
    wanted: Wanted,
    decide: (snapshot: OrgSnapshot | undefined) => Change<T>,
  ) =>
    database.transact(async (session) => {
      const { snapshot, last } = await readSnapshot(session, parts, orgId, wanted)
      const change = decide(snapshot)
      const audit = nextAuditRows(orgId, last, change.audit)
      await write(session, parts, { orgId, change, audit, isNew: snapshot === undefined })
      return { result: change.result, audit }
    })
  return (orgId, wanted, decide) =>
    parts.turns({ orgId, isStop: wanted.isStop }, async () => {
      // `decide` has no effects.
      const committed = await untilItGoesThrough(() => attempt(orgId, wanted, decide))
      if (committed.audit.length > 0) parts.news.committed()
      return committed
    })
}

type LastAudit = Pick<AuditRow, 'seq' | 'hash'>

interface Read {
  readonly snapshot: OrgSnapshot | undefined
  readonly last: LastAudit | undefined
}

/** All that does not depend on something else is sent at once, behind the lock. */
async function readSnapshot(
  session: Session,
  parts: ChangeParts,
  orgId: string,
  wanted: Wanted,
): Promise<Read> {
  const { finder } = parts
  const [orgRow, lastRow, found, others] = await Promise.all([
    first(session.query(LOCK_ORG, [orgId])),
    first(session.query(LAST_AUDIT, [orgId])),
    given(wanted.devices, (selection) => finder.find(session, orgId, selection, wanted.deviceLimit)),
    readOthers({ session, orgId }, parts, wanted),
  ])
  const last = lastRow as LastAudit | undefined
  if (orgRow === undefined) return { snapshot: undefined, last }
  const org = rows.orgs.of(orgRow)
  const { devices, count: deviceCount } = found ?? { devices: [], count: 0 }
  const asked = wanted.devices !== undefined && 'ids' in wanted.devices ? wanted.devices.ids : undefined
  const lockedDevices = await finder.locked(session, org, asked ?? devices.map(({ deviceId }) => deviceId))
  return { snapshot: { org, devices, deviceCount, lockedDevices, ...others }, last }
}

async function readOthers(
  of: OfOrg,
  { sessions, approvals }: ChangeParts,
  wanted: Wanted,
): Promise<Omit<OrgSnapshot, 'org' | 'devices' | 'deviceCount' | 'lockedDevices'>> {
  const { session, orgId } = of
  const { callerKeyId, callerSessionId } = wanted
  const [callerKey, callerSession, slot, lock, key, owners, link, open, asked, approvalCounts] =
    await Promise.all([
      findKey(of, callerKeyId),
      given(callerSessionId, (sessionId) => sessions.find(session, orgId, sessionId)),
      wanted.freeSlot === true ? first(session.query(FREE_SLOT, [orgId])) : undefined,
      findLock(of, wanted.lock),
      findKey(of, wanted.keyId),
      wanted.owners === true ? session.query(OWNERS, [orgId]) : [],
      given(wanted.link, (digest) => first(session.query(LINK, [orgId, digest]))),
      wanted.sessions === true ? sessions.open(session, orgId) : [],
      given(wanted.approvals, (ids) => approvals.read(session, orgId, ids)),
      wanted.approvalCounts === true ? approvals.counts(session, orgId, callerKeyId) : undefined,
    ])
  return {
    callerKey,
    callerSession,
    lowestFreeSlot: slot && Number(slot['slot']),
    lock,
    key,
    owners: owners.map(({ email }) => email as string),
    link: link && rows.links.of(link),
    sessions: open,
    approvals: asked ?? [],
    approvalCounts,
  }
}

function given<A, R>(asked: A | undefined, ask: (asked: A) => Promise<R>): Promise<R> | undefined {
  return asked === undefined ? undefined : ask(asked)
}

interface OfOrg {
  readonly session: Session
  readonly orgId: string
}

async function findKey({ session, orgId }: OfOrg, keyId: string | undefined) {
  if (keyId === undefined) return undefined
  const row = await first(session.query(KEY, [orgId, keyId]))
  return row && rows.keys.of(row)
}

async function findLock({ session, orgId }: OfOrg, wanted: Wanted['lock']) {
  if (wanted === undefined) return undefined
  const asked =
    'lockId' in wanted
      ? session.query(LOCK, [orgId, wanted.lockId])
      : session.query(LOCK_ON, [orgId, wanted.activePattern])
  const row = await first(asked)
  return row && rows.locks.of(row)
}

async function first(asked: Promise<readonly rows.Row[]>): Promise<rows.Row | undefined> {
  return (await asked)[0]
}

interface Written {
  readonly orgId: string
  readonly change: Change<unknown>
  readonly audit: readonly AuditRow[]
  readonly isNew: boolean
}

async function write(session: Session, parts: ChangeParts, written: Written): Promise<void> {
  const { orgId, change, audit, isNew } = written
  const { org, devices, locks, keys, links } = change
  const common = { org_id: orgId }
  const writeOrg = async () => {
    // Not upserted: of two nodes that make an org at once, one is told that it is there.
    if (org !== undefined) await session.run(isNew ? ADD_ORG : SET_ORG, [rowsOf(rows.orgs, [org])])
  }
  const owned = (emails: readonly string[]) => jsonRows(emails.map((email) => ({ org_id: orgId, email })))
  const setOwners = async (statement: string, emails: readonly string[] = []) => {
    if (emails.length > 0) await session.run(statement, [owned(emails)])
  }
  const chain = async () => {
    const [from, to] = [audit[0], audit.at(-1)]
    if (from === undefined || to === undefined) return
    await Promise.all([
      session.run(ADD_AUDIT, [rowsOf(auditWithStops, audit)]),
      parts.news.note(session, orgId, from.seq, to.seq),
    ])
  }
  await Promise.all([
    writeOrg(),
    setOwners(REMOVE_OWNERS, change.removeOwners),
    setOwners(ADD_OWNERS, change.addOwners),
    putAll(session, PUT_KEYS, { mapping: rows.keys, records: keys, keyOf: ({ keyId }) => keyId }),
    putAll(session, PUT_DEVICES, {
      mapping: rows.devices,
      records: devices,
      keyOf: ({ deviceId }) => deviceId,
      common,
    }),
    putAll(session, PUT_LOCKS, {
      mapping: rows.locks,
      records: locks,
      keyOf: ({ lockId }) => lockId,
      common,
    }),
    putAll(session, PUT_LINKS, { mapping: rows.links, records: links, keyOf: ({ digest }) => digest }),
    parts.sessions.write(session, change.sessions),
    parts.approvals.write(session, orgId, change.approvals, change.keepSpareApprovals),
    chain(),
  ])
}

const { orgs, keys, devices, locks, links } = rows

const LOCK_ORG = `SELECT ${orgs.list} FROM orgs WHERE org_id = $1 FOR NO KEY UPDATE`
const LAST_AUDIT = 'SELECT seq, hash FROM audit WHERE org_id = $1 ORDER BY seq DESC LIMIT 1'
const KEY = `SELECT ${keys.list} FROM keys WHERE org_id = $1 AND key_id = $2`
const LOCK = `SELECT ${locks.list} FROM locks WHERE org_id = $1 AND lock_id = $2`
const LOCK_ON = `SELECT ${locks.list} FROM locks WHERE org_id = $1 AND pattern = $2 AND active = 1`
const LINK = `SELECT ${links.list} FROM recovery_links WHERE org_id = $1 AND digest = $2`
const OWNERS = 'SELECT email FROM owners WHERE org_id = $1 ORDER BY email'
// Mostly there is no gap. The first slot whose successor is free; slot 0 stands before them all.
const FREE_SLOT = `
  SELECT CASE
    WHEN used = (SELECT coalesce(max(slot), 0) FROM devices WHERE org_id = $1 AND slot IS NOT NULL) THEN used + 1
    ELSE (
      SELECT taken.slot + 1
      FROM (SELECT 0 AS slot UNION ALL SELECT slot FROM devices WHERE org_id = $1 AND slot IS NOT NULL) taken
      WHERE NOT EXISTS (SELECT FROM devices next WHERE next.org_id = $1 AND next.slot = taken.slot + 1)
      ORDER BY taken.slot LIMIT 1)
    END AS slot
  FROM orgs WHERE org_id = $1`

const ADD_ORG = insertAll('orgs', orgs.columns)
const SET_ORG = `UPDATE orgs
  SET ${orgs.columns.map((column) => `${column} = changed.${column}`).join(', ')}
  FROM json_populate_recordset(NULL::orgs, $1::json) changed WHERE orgs.org_id = changed.org_id`
const ADD_OWNERS = `${insertAll('owners', ['org_id', 'email'])} ON CONFLICT DO NOTHING`
const REMOVE_OWNERS = `DELETE FROM owners USING json_populate_recordset(NULL::owners, $1::json) gone
  WHERE owners.org_id = gone.org_id AND owners.email = gone.email`
const PUT_KEYS = upsertAll('keys', keys.columns, ['key_id'])
const PUT_DEVICES = upsertAll('devices', ['org_id', ...devices.columns], ['org_id', 'device_id'])
const PUT_LOCKS = upsertAll('locks', ['org_id', ...locks.columns], ['lock_id'])
const PUT_LINKS = upsertAll('recovery_links', links.columns, ['digest'])
const ADD_AUDIT = insertAll('audit', auditWithStops.columns)
