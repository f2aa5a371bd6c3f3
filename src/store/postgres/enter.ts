import type { Clock } from '../../clock.ts'
import { HoldpointError, messageOf } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { PostgresDurability } from '../../control-plane/stops/stop-store.ts'
import type { ControlPlaneStore } from '../../control-plane/store.ts'
import { createAdmission, type Admission } from './admit.ts'
import { CONTROL_PLANE_MIGRATIONS } from './control-plane-schema.ts'
import { labelOf, type Database } from './database.ts'
import { assertCanStart, durabilityOf, reportOf, warningsOf, type Consistency } from './durability.ts'
import { look, type Found } from './identity.ts'
import type { Knowledge } from './learned.ts'
import { migrate } from './migrate.ts'
import { acceptPlace, markRestored, settle, type Settled } from './restored.ts'
import { withSetup } from './setup.ts'
import { NOTHING_SEEN, readSeen, writeSeen, type Seen } from './seen-file.ts'
import { otherStore, type Known } from './verdict.ts'

export interface EnterOptions {
  readonly url: string
  /** For a connection. */
  readonly timeoutMs: number
  readonly consistency: Consistency
  readonly log: Logger
  /** Where this node keeps what it has seen of the store, so that it knows an older one after a restart too. */
  readonly seenFile?: string | undefined
  /** Default: that of this process. */
  readonly clock?: Clock | undefined
}

export interface EnteredStore {
  readonly admit: Admission['admit']
  /** For threads with connections of their own. */
  readonly knowledge: Knowledge
  /** Grows when the store is found restored, also while it is open. */
  readonly generation: () => number
  /** Remembers what `change` acks. */
  readonly noting: (change: ControlPlaneStore['change']) => ControlPlaneStore['change']
  /** Looks at the store every few seconds, by connections of `database`. */
  readonly watch: (database: Database) => StoreWatch
}

export interface StoreWatch {
  /** As the server says itself, now. */
  readonly durability: () => Promise<PostgresDurability>
  /** Looks now. Resolves in any case. */
  readonly look: () => Promise<void>
  readonly close: () => Promise<void>
}

const LOOK_EVERY_MS = 5000
const SCHEMA = 'holdpoint_control_plane'

/**
 * Brings the tables forward, checks how the server is set up, and finds out whether the store is the one it was: if it
 * was restored, or taken over by a server that may lack stops, a new generation begins (G6).
 */
export async function enterStore(options: EnterOptions): Promise<EnteredStore> {
  const { url, timeoutMs, consistency, log, seenFile, clock } = options
  const seen = seenFile === undefined ? NOTHING_SEEN : readSeen(seenFile)
  let { begun } = seen
  const note = () => {
    if (seenFile !== undefined) remember(seenFile, { known: admission.known(), begun }, log)
  }
  const onBegin = (generation: number) => {
    begun = generation
    note()
  }
  const label = labelOf(url)
  const admission: Admission = createAdmission({
    label,
    clock,
    known: seen.known,
    settle: (known) =>
      withSetup({ url, timeoutMs, schema: SCHEMA }, (setup) => settle(setup, known, begun, onBegin)),
    onEntered: (settled, before) => {
      logEntered(log, settled, before)
      note()
    },
  })
  await withSetup({ url, timeoutMs, schema: SCHEMA }, async (setup) => {
    await migrate(setup, SCHEMA, CONTROL_PLANE_MIGRATIONS)
    const { settings } = await admission.look(setup)
    assertCanStart(settings, consistency, setup.label)
    for (const line of reportOf(durabilityOf(settings, consistency))) log.info(line)
    for (const line of warningsOf(settings)) log.warn(line)
  })
  return {
    admit: admission.admit,
    knowledge: admission,
    generation: () => admission.known()?.generation ?? 0,
    noting: (change) => async (orgId, wanted, decide) => {
      const committed = await change(orgId, wanted, decide)
      const last = committed.audit.at(-1)
      if (last !== undefined) admission.noteChange({ orgId, seq: last.seq, hash: last.hash })
      return committed
    },
    watch: (database) => watch(database, admission, note, options),
  }
}

/**
 * What an operator knows, and no node can: that the database was restored, so that the next node that looks begins a new
 * generation; or that nothing was lost, after `pg_upgrade` or a switchover in good order. False, and nothing is said, where
 * there is no org that was restored. Throws `STORE_OTHER` before anything is said to a store that `seenFile` does not name.
 */
export async function tellStore(
  { url, timeoutMs, seenFile }: Pick<EnterOptions, 'url' | 'timeoutMs' | 'seenFile'>,
  what: { readonly restored: { readonly keepKeys: boolean } } | 'nothing lost',
): Promise<boolean> {
  const { known } = seenFile === undefined ? NOTHING_SEEN : readSeen(seenFile)
  return withSetup({ url, timeoutMs, schema: SCHEMA }, async (setup) => {
    await migrate(setup, SCHEMA, CONTROL_PLANE_MIGRATIONS)
    const { storeId } = await setup.read((session) => look(session))
    if (known !== undefined && known.storeId !== storeId) throw otherStore(setup.label)
    if (what !== 'nothing lost') return markRestored(setup, what.restored.keepKeys)
    await acceptPlace(setup)
    return true
  })
}

function watch(
  database: Database,
  admission: Admission,
  note: () => void,
  { consistency, log }: EnterOptions,
): StoreWatch {
  let said: string | undefined
  let failing = false

  const check = async (): Promise<Found> => {
    const found = await admission.look(database)
    const synchronous = found.settings.synchronousStandbyNames !== ''
    await noteSynchronous(database, found, synchronous)
    admission.noteSynchronous(synchronous)
    return found
  }
  const tellSettings = ({ settings }: Found) => {
    const lines = [...reportOf(durabilityOf(settings, consistency)), ...warningsOf(settings)]
    const text = lines.join('\n')
    if (said !== undefined && said !== text) {
      log.warn({ store: durabilityOf(settings, consistency) }, 'the database is set up differently now')
      for (const line of lines) log.warn(line)
    }
    said = text
  }
  const lookOnce = async () => {
    try {
      tellSettings(await check())
      note()
      if (failing) log.info('the database can be used again')
      failing = false
    } catch (error) {
      if (!failing)
        log.error({ code: error instanceof HoldpointError ? error.code : undefined }, messageOf(error))
      failing = true
    }
  }
  let looking: Promise<void> | undefined
  const lookNow = () => (looking ??= lookOnce().finally(() => (looking = undefined)))
  const timer = setInterval(() => void lookNow(), LOOK_EVERY_MS)
  timer.unref()
  void lookNow()

  return {
    look: lookNow,
    durability: async () => durabilityOf((await admission.look(database)).settings, consistency),
    close: async () => {
      clearInterval(timer)
      await looking
    },
  }
}

/** For a node that last saw something else when the primary fails. A standby that is lost never hears it. */
async function noteSynchronous(database: Database, found: Found, synchronous: boolean): Promise<void> {
  if (found.synchronous === synchronous) return
  await database.transact((session) =>
    session.run('UPDATE store_identity SET synchronous_at_ms = $1::bigint', [
      synchronous ? found.nowMs : null,
    ]),
  )
}

function remember(file: string, seen: Seen, log: Logger): void {
  try {
    writeSeen(file, seen)
  } catch (error) {
    log.warn({ err: messageOf(error) }, 'what was seen of the database cannot be noted under DATA_DIR')
  }
}

function logEntered(log: Logger, { found, verdict }: Settled, before: Known | undefined): void {
  const { generation, place } = found
  const at = { generation, ...place, before: before && { generation: before.generation, ...before.place } }
  if (verdict.kind === 'restored') {
    log.error(
      at,
      `the database was restored, or may lack stops: ${verdict.found}. Generation ${generation} has begun: every org is disabled, ` +
        `${found.keepKeys ? 'its keys were kept' : 'every key has ended'}. Next: npx holdpoint restore-backup writes new admin keys`,
    )
  } else if (verdict.kind === 'noted') {
    log.warn(at, `the database: ${verdict.found}. Its generation stays ${generation}`)
  } else if (before !== undefined) {
    log.warn(at, `the database has moved, and another node has noted it: generation ${generation}`)
  }
}
