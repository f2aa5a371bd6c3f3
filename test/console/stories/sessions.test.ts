import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { enterKey, signIn, troubleOf } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'
import { startTestSmtp, type TestSmtp } from '../../fixtures/smtp.ts'

const OWNER = 'owner@example.org'
const LINK = /http:\/\/\S+\/recover#token=\S+/
const DEVICE = 'openai-agent:test:payments:01'
/** The console asks every 5 s how things stand. */
const NEXT_LOOK = { timeout: 9000 }

describe.skipIf(!hasChromium('sessions in the console'))('sessions in the console', () => {
  let world: ConsoleWorld
  let browser: Browser
  let smtp: TestSmtp
  const pages: BrowserPage[] = []

  const open = async (path: string) => {
    const page = await browser.open(`${world.url}/console${path}`)
    pages.push(page)
    return page
  }
  const begun = async (path: string, key: string) => {
    const page = await open(path)
    await signIn(page, key)
    return page
  }
  /** A session is of the key, or of the owner, that began it. */
  const change = (set: string) => {
    const db = new DatabaseSync(join(world.dataDir, 'control-plane.db'))
    const { changes } = db.prepare(`UPDATE sessions SET ${set} WHERE ended_at_ms IS NULL`).run()
    db.close()
    return changes
  }
  const navigation = (page: BrowserPage) =>
    page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allInnerTexts()
  const heading = (page: BrowserPage, name: string) => page.getByRole('heading', { level: 1, name })
  const signedOut = (page: BrowserPage) => page.getByText('You are signed out', { exact: true })

  beforeAll(async () => {
    smtp = await startTestSmtp()
    world = await startConsoleWorld({
      toolServer: false,
      env: { SMTP_URL: smtp.url, MAIL_FROM: 'holdpoint <holdpoint@example.org>' },
    })
    browser = await startBrowser()
    await world.registerMany([DEVICE])
    await world.post(PATHS.orgOwners, { add: [OWNER] })
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await world?.close()
    await smtp?.close()
  })

  it('says of a wrong key that it is one, and lets in whoever has a right one', async () => {
    const page = await open('/devices')
    await enterKey(page, `${world.secrets.operator.slice(0, -3)}xyz`)
    await page.getByRole('alert').getByText('This org key is not known here.').waitFor()
    expect(await page.getByLabel('Key', { exact: true }).getAttribute('aria-invalid')).toBe('true')

    await enterKey(page, world.secrets.operator)
    await heading(page, 'Devices').waitFor()
    await page.getByRole('row', { name: new RegExp(DEVICE) }).waitFor()
    const kept = await page.evaluate('JSON.stringify([localStorage, sessionStorage, document.cookie])')
    expect(kept, 'the key stays nowhere, and no script sees the cookie').not.toMatch(/org_operator_|hps_/)
    await page.context().close()
  })

  it('lets an owner in by mail: opening the link does nothing, its button signs in, and the link is then used up', async () => {
    const page = await open('/')
    await page.getByLabel('Email address').fill(OWNER)
    await page.getByRole('button', { name: 'Mail me a link' }).click()
    await page.getByText(/a link is on its way/).waitFor()
    const link = await vi.waitUntil(() => smtp.mails.flatMap(({ text }) => LINK.exec(text) ?? [])[0], 5000)

    const scanner = await browser.open(link)
    await scanner.getByRole('button', { name: 'Sign in to the console' }).waitFor()
    const cookies = () => scanner.context().cookies()
    expect(await cookies()).toEqual([])
    expect(scanner.requested.some((url) => url.includes('/api/'))).toBe(false)
    await scanner.context().close()

    const owner = await browser.open(link)
    pages.push(owner)
    await owner.getByRole('button', { name: 'Sign in to the console' }).click()
    await heading(owner, 'Overview').waitFor()
    expect(owner.url()).toBe(`${world.url}/console`)
    await owner.getByRole('button', { name: 'Account: signed in with admin rights' }).click()
    await owner.getByRole('dialog', { name: 'Account' }).getByText(OWNER).waitFor()
    expect(await owner.context().cookies()).toMatchObject([{ httpOnly: true, sameSite: 'Strict', path: '/' }])

    const again = await browser.open(link)
    await again.getByRole('button', { name: 'Sign in to the console' }).click()
    await again.getByRole('heading', { name: 'This link does not work any more' }).waitFor()
    await again.context().close()
    await owner.context().close()
  })

  it.each([
    ['was idle for an hour', 'idle_at_ms = 1'],
    ['is 12 hours old', 'ends_at_ms = 1, idle_at_ms = 1'],
  ])('says why when the session %s, and goes on where it was', async (_, set) => {
    const at = `/devices?q=payments&device=${encodeURIComponent(DEVICE)}`
    const page = await begun(at, world.secrets.operator)
    await page.getByRole('dialog').getByText(DEVICE).first().waitFor()
    const url = page.url()

    expect(change(set)).toBeGreaterThan(0)
    await signedOut(page).waitFor(NEXT_LOOK)
    await page.getByText(/left alone for an hour, or is 12 hours old/).waitFor()
    expect(await page.getByText(DEVICE).count(), 'nothing is shown any more').toBe(0)

    await signIn(page, world.secrets.operator)
    await page.getByRole('dialog').getByText(DEVICE).first().waitFor()
    expect(page.url()).toBe(url)
    await page.context().close()
  })

  it('warns before it ends, and whoever is there stays signed in', async () => {
    const page = await begun('/plan', world.secrets.viewer)
    change(`idle_at_ms = ${Date.now() + 100_000}`)
    await page.reload()
    const warning = page.getByRole('alert').filter({ hasText: 'Your session ends at' })
    await warning.waitFor()
    await warning.getByRole('button', { name: 'Stay signed in' }).focus()
    await page.keyboard.press('Enter')
    await warning.waitFor({ state: 'detached' })
    await page.context().close()
  })

  it('shows nothing as current when the key is burned from another browser: streams end, and it says why', async () => {
    const { key } = await world.post(PATHS.keys, { kind: 'operator', name: 'Alice' })
    const alice = await begun('/decisions', key)
    await alice.getByText('Live, newest on top.').waitFor()
    const streams: string[] = []
    const ended = (request: { url: () => string }) => {
      if (request.url().includes(PATHS.feed)) streams.push(request.url())
    }
    alice.on('requestfinished', ended)

    const admin = await begun('/keys', world.secrets.admin)
    await admin.getByRole('button', { name: /^Burn Alice / }).click()
    const dialog = admin.getByRole('dialog', { name: 'Burn a key' })
    await dialog.getByLabel('Reason').fill('Alice lost her laptop')
    await dialog.getByRole('button', { name: 'Burn it' }).click()
    await dialog.getByText(/It is refused from now on/).waitFor()

    await signedOut(alice).waitFor(NEXT_LOOK)
    await alice.getByText(/This key was burned/).waitFor()
    expect(await alice.getByRole('navigation').count()).toBe(0)
    expect(streams.length, 'both streams were ended by the control plane').toBeGreaterThanOrEqual(2)
    await enterKey(alice, key)
    await alice.getByLabel('Key', { exact: true }).and(alice.locator('[aria-invalid=true]')).waitFor()
    await alice.context().close()
    await admin.context().close()
  })

  it('signs out everywhere: the other tab, and the other browser', async () => {
    const here = await begun('/', world.secrets.operator)
    const otherTab = await browser.openTab(here, `${world.url}/console/stops`)
    pages.push(otherTab)
    await heading(otherTab, 'Stops').waitFor()
    const otherBrowser = await begun('/audit', world.secrets.operator)
    const somebodyElse = await begun('/', world.secrets.admin)

    await here.bringToFront()
    await here.getByRole('button', { name: /^Account/ }).click()
    await here.getByRole('button', { name: 'Sign out everywhere' }).click()
    await here
      .getByRole('dialog', { name: 'Sign out everywhere' })
      .getByRole('button', { name: 'Sign out everywhere' })
      .click()

    for (const page of [here, otherTab])
      await page.getByLabel('Key', { exact: true }).waitFor({ timeout: 2000 })
    await signedOut(otherBrowser).waitFor(NEXT_LOOK)
    await somebodyElse.reload()
    await heading(somebodyElse, 'Overview').waitFor()
    for (const page of [here, otherBrowser, somebodyElse]) await page.context().close()
  })

  it.each([
    [
      'viewer' as const,
      ['Overview', 'Devices', 'Stops', 'Approvals', 'Runs', 'Decisions', 'Plan', 'Audit', 'Drills'],
      { stops: false, hidden: ['/keys'] },
    ],
    [
      'stop' as const,
      ['Overview', 'Devices', 'Stops', 'Approvals', 'Runs', 'Plan', 'Drills'],
      { stops: true, hidden: ['/keys', '/audit', '/decisions', '/decisions/req_1'] },
    ],
  ])('shows a %s what it may do, and no more', async (kind, names, { stops, hidden }) => {
    await world.post(PATHS.revoke, { deviceId: DEVICE, reason: 'a story' })
    const page = await begun('/devices', world.secrets[kind])
    expect(await navigation(page)).toEqual([...names, 'Stop page, for phones'])
    await page.getByRole('row', { name: new RegExp(DEVICE) }).waitFor()
    const count = (name: RegExp) => page.getByRole('button', { name }).count()
    expect(await count(/^Stop everything$/)).toBe(stops ? 1 : 0)
    expect(await count(/^Revoke /)).toBe(stops ? 2 : 0)
    expect(await count(/^(Restore|Remove|Register)/)).toBe(0)
    for (const path of hidden) {
      await page.goto(`${world.url}/console${path}`)
      await heading(page, 'No such page').waitFor()
    }
    // What the page does not offer is refused as well.
    const status = await page.evaluate(async (path) => {
      const session = (await (await fetch('/api/v1/session')).json()) as { csrfToken: string }
      const headers = { 'content-type': 'application/json', 'x-csrf-token': session.csrfToken }
      const body = JSON.stringify({ deviceId: 'openai-agent:test:payments:01', ifEpoch: 1 })
      return (await fetch(path, { method: 'POST', headers, body })).status
    }, PATHS.unrevoke)
    expect(status).toBe(403)
    expect(page.requested.filter((url) => stops && url.includes(PATHS.feed))).toEqual([])
    await page.context().close()
  })

  it('did all that without a complaint of the browser', () => {
    expect(pages.flatMap(troubleOf)).toEqual([])
    expect(pages.length).toBeGreaterThan(10)
  })
})
