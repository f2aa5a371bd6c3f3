import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'

import { createControlPlane } from '../../src/control-plane/control-plane.ts'
import type { ControlPlaneStore } from '../../src/control-plane/store.ts'
import { listen } from '../../src/http.ts'
import { createLogger } from '../../src/log.ts'
import { RecoverResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { openControlPlaneStore } from '../../src/store/sqlite/control-plane.ts'
import { startTestControlPlane, type HttpAnswer } from '../fixtures/control-plane.ts'
import { auditOf, CONSOLE_URL, LOCAL, OWNER, startTestRecovery, tokenIn } from '../fixtures/recovery.ts'
import { startTestSmtp } from '../fixtures/smtp.ts'

const NOBODY = 'nobody@example.org'
const HOUR_MS = 3_600_000

/** Without what differs between any two answers. */
const alike = ({ status, body, headers }: HttpAnswer) => {
  const { request_id: _, ...rest } = body as { request_id: string }
  const named = Object.fromEntries(headers.entries())
  return { status, rest, headers: { ...named, date: '' } }
}

describe('asking for a recovery link', () => {
  test('an owner gets it by mail, to the console of the configuration, whatever the request calls its host', async () => {
    await using recovery = await startTestRecovery()
    const { post, controlPlane, orgId } = recovery.authority
    const evil = { 'x-forwarded-host': 'evil.example.net', forwarded: 'host=evil.example.net' }
    await post(PATHS.orgRecover, { email: 'Owner@Example.ORG' }, undefined, evil)
    await controlPlane.recovery.flush()
    const [mail] = recovery.mailsTo(OWNER)
    expect(mail?.text).toContain(`${orgId}:\n${CONSOLE_URL}/recover#token=${tokenIn(mail)}\n`)
    expect(mail?.text).toContain('Asked from 127.0.0.1')
    expect(mail?.raw).not.toContain('evil')
    expect(auditOf(recovery.authority, 'org.recover_requested')).toMatchObject([
      { actor: 'recovery', origin: '127.0.0.1', after: { email: OWNER } },
    ])
  })

  test('an address gets one mail for all its orgs, with a link for each', async () => {
    await using recovery = await startTestRecovery()
    const { service, orgId } = recovery.authority
    const other = await service.createOrg({ kinds: [], ownerEmail: OWNER })
    await recovery.ask(OWNER)
    const mails = recovery.mailsTo(OWNER)
    expect(mails).toHaveLength(1)
    const links = [...(mails[0]?.text ?? '').matchAll(/^(o_\w+):\n.*#token=(hpr_\w{43})$/gm)]
    const answers = await Promise.all(links.map(([, , token]) => recovery.confirm(token ?? '')))
    expect(answers.map(({ body }) => body.orgId as string).toSorted()).toEqual(
      [orgId, other.orgId].toSorted(),
    )
    expect(links.map(([, named]) => named)).toEqual(answers.map(({ body }) => body.orgId as string))
  })

  test('an address that owns something and one that does not get the same answer, and only one of them a mail', async () => {
    await using recovery = await startTestRecovery()
    const known = await recovery.ask(OWNER)
    const unknown = await recovery.ask(NOBODY)
    expect(RecoverResponse.parse(known.body).message).toMatch(/^If this address owns an org/)
    expect(alike(known)).toEqual(alike(unknown))
    expect(recovery.smtp.mails.map(({ to }) => to)).toEqual([[OWNER]])
  })

  test('is answered before anything is looked up, and even when nothing can be', async () => {
    await using seeded = await startTestRecovery()
    await seeded.authority.kill()
    const store = blockable(openControlPlaneStore({ file: seeded.authority.file }))
    const controlPlane = createControlPlane({
      store: store.port,
      log: createLogger({ level: 'silent' }),
      loopback: true,
      recovery: { workWithinMs: 0 },
    })
    const { url } = await listen(controlPlane.operatorServer, { host: '127.0.0.1', port: 0 })
    await controlPlane.housekeeping.close()
    store.block()
    for (const email of [OWNER, NOBODY]) {
      const caller = { ...LOCAL, kind: 'recovery' as const }
      await controlPlane.recovery.request(caller, email)
      expect(store.calls()).toBe(0)
    }
    for (const email of [OWNER, NOBODY]) {
      const answer = await fetch(`${url}${PATHS.orgRecover}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email }),
      })
      expect(answer.status).toBe(200)
      await answer.arrayBuffer()
    }
    // The worker has asked, one thing at a time, and waits; nobody waited for it.
    expect(store.calls()).toBe(1)
    store.release()
    await controlPlane.close({ graceMs: 0 })
  })

  test('takes as long for an owner as for anybody, though a lookup takes 200 ms', async () => {
    await using seeded = await startTestRecovery()
    await seeded.authority.kill()
    const store = openControlPlaneStore({ file: seeded.authority.file })
    const slow: ControlPlaneStore = {
      ...store,
      findOrgsOwnedBy: async (email) => {
        if (email === OWNER) await pause(200)
        return store.findOrgsOwnedBy(email)
      },
    }
    const log = createLogger({ level: 'silent' })
    const controlPlane = createControlPlane({
      store: slow,
      log,
      loopback: true,
      limitCalls: false,
      recovery: { workWithinMs: 0 },
    })
    const { url } = await listen(controlPlane.operatorServer, { host: '127.0.0.1', port: 0 })
    const tookMs = async (email: string) => {
      const begun = performance.now()
      const answer = await fetch(`${url}${PATHS.orgRecover}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email }),
      })
      await answer.arrayBuffer()
      return performance.now() - begun
    }
    const known: number[] = []
    const unknown: number[] = []
    for (let round = 0; round < 40; round++) {
      known.push(await tookMs(OWNER))
      unknown.push(await tookMs(NOBODY))
    }
    expect(Math.abs(median(known) - median(unknown))).toBeLessThan(100)
    await controlPlane.close({ graceMs: 0 })
  })

  test('more than three times an hour for one address is answered the same and sends nothing', async () => {
    const clock = movableClock()
    await using recovery = await startTestRecovery({ clock })
    const answers = []
    for (let at = 0; at < 5; at++) answers.push(alike(await recovery.ask(OWNER)))
    expect(new Set(answers.map((answer) => JSON.stringify(answer)))).toHaveLength(1)
    expect(recovery.mailsTo(OWNER)).toHaveLength(3)
    clock.move(HOUR_MS)
    await recovery.ask(OWNER)
    expect(recovery.mailsTo(OWNER)).toHaveLength(4)
  })

  test('too often from one network is 429 with Retry-After, for every address alike', async () => {
    await using recovery = await startTestRecovery({ limitCalls: true })
    const statuses = []
    for (let at = 0; at < 10; at++) statuses.push((await recovery.ask(`${at}@example.org`)).status)
    expect(new Set(statuses)).toEqual(new Set([200]))
    const known = await recovery.ask(OWNER)
    const unknown = await recovery.ask(NOBODY)
    expect(known).toMatchObject({ status: 429, body: { code: 'RATE_LIMITED', error: 'rate_limited' } })
    expect(Number(known.headers.get('retry-after'))).toBeGreaterThan(50)
    expect(alike(known)).toEqual(alike(unknown))
    expect(recovery.smtp.mails).toEqual([])
    // A link that is there already still works.
    expect((await recovery.confirm('hpr_x')).status).toBe(410)
  })

  test('beyond what may wait is dropped and logged, and answered the same', async () => {
    await using recovery = await startTestRecovery({ recovery: { workWithinMs: 60_000, maxWaiting: 2 } })
    const { post, controlPlane } = recovery.authority
    const answers = []
    for (const email of ['a@example.org', 'a@example.org', 'b@example.org', OWNER]) {
      answers.push(alike(await post(PATHS.orgRecover, { email })))
    }
    expect(new Set(answers.map((answer) => JSON.stringify(answer)))).toHaveLength(1)
    await controlPlane.recovery.flush()
    expect(recovery.smtp.mails).toEqual([])
    expect(recovery.lines()).toContainEqual(
      expect.objectContaining({ waiting: 2, msg: 'too many recoveries are asked for, one was dropped' }),
    )
  })

  test('with the mail server down is answered the same, tried again, and logged without the address', async () => {
    await using recovery = await startTestRecovery()
    const { port } = recovery.smtp
    await recovery.smtp.close()
    const known = await recovery.ask(OWNER)
    expect(alike(known)).toEqual(alike(await recovery.ask(NOBODY)))
    await using revived = await startTestSmtp({ port })
    const mail = await revived.next()
    expect((await recovery.confirm(tokenIn(mail))).status).toBe(200)
    expect(recovery.lines()).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        domain: 'example.org',
        reason: expect.stringContaining('ECONNREFUSED'),
      }),
    )
    expect(JSON.stringify(recovery.lines())).not.toMatch(/owner@|nobody@|hpr_[0-9A-Za-z]{43}/)
  })

  test('what is no address is 400, and nobody is mailed', async () => {
    await using recovery = await startTestRecovery()
    const bad = ['', 'owner', `${OWNER}\r\nBcc: x@example.net`, `${OWNER},x@example.net`, `x <${OWNER}>`]
    for (const email of [...bad, `${'x'.repeat(300)}@example.org`, null, 1, [OWNER], { to: OWNER }]) {
      const answer = await recovery.authority.post(PATHS.orgRecover, { email })
      expect(answer).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } })
    }
    await recovery.authority.controlPlane.recovery.flush()
    expect(recovery.smtp.mails).toEqual([])
  })
})

test('no link is made for an address that owns the org no more', async () => {
  await using recovery = await startTestRecovery()
  const { service, orgId } = recovery.authority
  expect(await service.createRecoveryLink(LOCAL, orgId, NOBODY)).toBeUndefined()
  expect(auditOf(recovery.authority, 'org.recover_requested')).toEqual([])
})

describe('the token', () => {
  test('is nowhere but in the mail: not in the database, nor in the log', async () => {
    await using recovery = await startTestRecovery()
    const token = await recovery.newToken()
    const { body } = await recovery.confirm(token)
    const { dir } = recovery.authority
    for (const name of await readdir(dir)) {
      const bytes = await readFile(join(dir, name), 'latin1')
      expect(bytes).not.toContain(token)
      expect(bytes).not.toContain(body.key)
    }
    expect(JSON.stringify(recovery.lines())).not.toContain(token)
  })
})

/** A store whose calls can be held up. */
function blockable(store: ControlPlaneStore) {
  const gate = Promise.withResolvers<void>()
  let blocked = false
  let calls = 0
  const port = new Proxy(store, {
    get: (target, name: keyof ControlPlaneStore) => {
      const member = target[name]
      if (typeof member !== 'function' || name === 'problem' || name === 'close') return member
      return async (...args: unknown[]) => {
        if (blocked) {
          calls++
          await gate.promise
        }
        return (member as (...given: unknown[]) => unknown).apply(target, args)
      }
    },
  })
  return {
    port,
    block: () => void (blocked = true),
    release: () => {
      blocked = false
      gate.resolve()
    },
    calls: () => calls,
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

/** Both clocks of this process, moved on at will. */
function movableClock() {
  let movedMs = 0
  return {
    now: () => ({ monotonicMs: performance.now() + movedMs, wallMs: Date.now() + movedMs }),
    move: (ms: number) => void (movedMs += ms),
  }
}

test('without a mailer there is no recovery, and the answer is still the same', async () => {
  await using authority = await startTestControlPlane({ recovery: { workWithinMs: 0 } })
  await authority.service.changeOwners(LOCAL, authority.orgId, { add: [OWNER] })
  const answer = await authority.post(PATHS.orgRecover, { email: OWNER })
  await authority.controlPlane.recovery.flush()
  expect(answer.status).toBe(200)
})
