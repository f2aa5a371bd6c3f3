// What the console says while something goes wrong: what is not known is never told as fine, as done or as failed.

import type { Route } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { askedApproval } from '../../fixtures/approvals.ts'
import { openConsole, signIn } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'

const DEVICE = 'agent:test:payments:01'
const REFUSED = {
  status: 429,
  json: { request_id: 'r', code: 'RATE_LIMITED', message: 'Too many requests.' },
}

describe.skipIf(!hasChromium('what the console says when something goes wrong'))('The console', () => {
  let world: ConsoleWorld
  let browser: Browser
  let page: BrowserPage

  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startConsoleWorld({ toolServer: false }), startBrowser()])
    await world.registerMany([DEVICE])
    page = await openConsole(browser, world, { as: 'admin', at: '/' })
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await world?.close()
  })

  const header = () => page.getByRole('banner')
  const goTo = (name: string) =>
    page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true }).click()
  const openStop = async () => {
    await header().getByRole('button', { name: 'Stop everything' }).click()
    return page.getByRole('dialog', { name: 'Stop everything' })
  }

  it('calls nothing allowed any more when the state of the org is refused to it', async () => {
    await header().getByText('Everything allowed').waitFor()
    await page.route('**/api/v1/usage', (route) => route.fulfill(REFUSED))
    await header().getByText('Not up to date').waitFor()
    await page.getByText('Whether everything is allowed is not known.').waitFor()
    await page.getByText('Nothing was stopped when the control plane last answered.').waitFor()
    await page.getByRole('alert').filter({ hasText: 'RATE_LIMITED' }).first().waitFor()
    expect(await page.getByText('Everything is allowed.').count()).toBe(0)

    const fresh = await openConsole(browser, world, { as: 'viewer', at: '/stops' })
    await fresh.route('**/api/v1/usage', (route) => route.fulfill(REFUSED))
    await fresh.goto(`${world.url}/console/devices?device=${DEVICE}`)
    await fresh.getByText('This cannot be shown.').waitFor()
    expect(await fresh.getByText('allowed', { exact: true }).count()).toBe(0)
    await fresh.context().close()

    await page.unroute('**/api/v1/usage')
    await header().getByText('Everything allowed').waitFor()
  }, 30_000)

  it('says since when it has counted, not that an hour was quiet', async () => {
    await page.getByText(/No decision since \d\d:\d\d:\d\d\./).waitFor()
  })

  it('previews anew what is opened again, and counts nobody as denied whom the preview did not name', async () => {
    const dialog = await openStop()
    await dialog.getByText('This stops 1 device').waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    const late = Promise.withResolvers<void>()
    await page.route('**/api/v1/org/disable?preview=true', async (route) => {
      await late.promise
      const devices = Array.from({ length: 3 }, (_, at) => ({
        deviceId: `d:${at}`,
        now: at === 0 ? 'DEVICE_REVOKED' : 'ALLOW',
        then: 'ORG_DISABLED',
      }))
      const orgEpoch = 1
      const json = { request_id: 'r', orgEpoch, deviceCount: 3000, truncated: true, hits: 2, devices }
      await route.fulfill({ json })
    })
    await openStop()
    await dialog.getByRole('status', { name: 'Loading' }).waitFor()
    expect(await dialog.getByText('This stops').count()).toBe(0)
    late.resolve()
    await dialog.getByText('This stops 2 devices or more').waitFor()
    await dialog.getByText('1 more device it is about is denied already.').waitFor()
    await dialog.getByText('2,997 more devices it is about were not looked at one by one.').waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'hidden' })
    await page.unroute('**/api/v1/org/disable?preview=true')
  }, 20_000)

  it('tells a stop whose answer was lost neither as done nor as failed, and waits for it', async () => {
    const dialog = await openStop()
    await dialog.getByText('This stops 1 device').waitFor()
    await dialog.getByLabel('Reason').fill('looks wrong')
    const answered = Promise.withResolvers<void>()
    const lose = async (route: Route) => {
      await route.fetch()
      await answered.promise
      await route.abort()
    }
    await page.route('**/api/v1/org/disable', lose)
    await dialog.getByRole('button', { name: 'Stop everything' }).click()
    await page.getByText('The org is disabled: nothing is allowed').waitFor()
    await page.keyboard.press('Escape')
    answered.resolve()
    await dialog.getByText('Whether this was done is not known.').waitFor()
    expect(await dialog.getByText('This did not work.').count()).toBe(0)
    expect(await dialog.getByLabel('Reason').inputValue()).toBe('looks wrong')
    await page.unroute('**/api/v1/org/disable')

    // Once there is an answer again, everything that is shown is asked anew, and the preview stays as it was shown.
    for (const _ of ['the poll', 'everything']) await page.waitForResponse('**/api/v1/usage')
    await dialog.getByText('This stops 1 device').waitFor()
    // It was of before the first try.
    await dialog.getByRole('button', { name: 'Stop everything' }).click()
    await dialog.getByText('Something else was stopped or restored since this form was opened.').waitFor()
    await dialog.getByRole('button', { name: 'Close' }).last().click()
    const { org } = await world.get('/api/v1/usage')
    await world.post('/api/v1/org/enable', { ifEpoch: org.epoch })
  }, 30_000)

  it('approves against what was shown, also after it was stale once', async () => {
    const { key } = await world.post('/api/v1/org/keys', { kind: 'runtime', bindings: ['agent:*'] })
    const asked = await fetch(`${world.agentUrl}/api/v1/approvals`, {
      method: 'POST',
      headers: { 'x-org-key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ approvals: [askedApproval('ap-1', { deviceIds: [DEVICE] })] }),
    })
    expect(await asked.json()).toMatchObject({ added: 1 })
    await page.goto(`${world.url}/console/approvals/ap-1`)
    await page.getByRole('button', { name: 'Approve …' }).click()
    const dialog = page.getByRole('dialog', { name: 'Approve this call' })
    for (const pattern of ['a:b:c:1', 'a:b:c:2']) {
      // Longer than it takes the page to ask again.
      const { orgEpoch } = await world.post('/api/v1/locks', { pattern, reason: 'another stop' })
      await page.waitForResponse(
        async (told) => told.url().endsWith('/approvals/ap-1') && (await told.json()).orgEpoch === orgEpoch,
      )
      await dialog.getByRole('button', { name: 'Approve' }).click()
      await dialog.getByText('Somebody else was faster. Nothing was changed.').waitFor()
      await page.waitForLoadState('networkidle').catch(() => undefined)
    }
    await dialog.getByRole('button', { name: 'Approve' }).click()
    await dialog.getByText(/^Approved\./).waitFor()
    await dialog.getByRole('button', { name: 'Close' }).last().click()
  }, 30_000)

  it('says that rows are those of the last question while the next one is not answered', async () => {
    await goTo('Approvals')
    await page.getByRole('link', { name: 'send_payment' }).waitFor()
    const late = Promise.withResolvers<void>()
    await page.route('**/api/v1/approvals?*state=declined*', async (route) => {
      await late.promise
      await route.continue()
    })
    await page.getByLabel('Show').selectOption('declined')
    await page.getByText('What stands here is what was asked for before.').waitFor()
    late.resolve()
    await page.getByText('There are none of these.').waitFor()
    expect(await page.getByText('What stands here is what was asked for before.').count()).toBe(0)
  }, 20_000)

  it('begins at the newest again when the filter of a long list is left', async () => {
    const run = (runId: string) => ({
      runId,
      agent: 'a',
      caller: 'c',
      status: 'completed',
      code: null,
      replica: 'r',
      createdAt: '2026-01-01T00:00:00Z',
      changedAt: '2026-01-01T00:00:00Z',
    })
    await page.route('**/api/v1/runs?*', (route) => {
      const cursor = new URL(route.request().url()).searchParams.get('cursor')
      const runs = [run(cursor === null ? 'newest' : 'older')]
      return route.fulfill({ json: { request_id: 'r', runs, nextCursor: cursor === null ? 'c2' : null } })
    })
    await page.goto(`${world.url}/console/runs?status=completed`)
    await page.getByRole('link', { name: 'newest' }).waitFor()
    await page.getByRole('button', { name: 'Older runs' }).click()
    await page.getByRole('link', { name: 'older' }).waitFor()
    await goTo('Runs')
    await page.getByRole('link', { name: 'newest' }).waitFor()
    await page.unroute('**/api/v1/runs?*')
  }, 20_000)

  it('listens to nothing in the background, and asks again when it is seen', async () => {
    const tab = await openConsole(browser, world, { as: 'operator', at: '/audit' })
    const setSeen = (state: 'hidden' | 'visible') =>
      tab.evaluate(`Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => '${state}' });
        document.dispatchEvent(new Event('visibilitychange'))`)
    const ended = tab.waitForEvent('requestfailed', (request) => request.url().includes('/api/v1/feed'))
    await tab.getByRole('heading', { level: 1, name: 'Audit' }).waitFor()
    await tab.waitForRequest((request) => request.url().includes('/api/v1/usage'))
    await setSeen('hidden')
    await ended
    await world.post('/api/v1/locks', { pattern: 'a:b:c:3', reason: 'while nobody looked' })
    await setSeen('visible')
    await tab.getByText('while nobody looked').waitFor()
    await tab.context().close()
  }, 20_000)

  it('has what was typed when a session ends under it, and says when a text could not be copied', async () => {
    await page.goto(`${world.url}/console/plan`)
    const dialog = await openStop()
    await dialog.getByLabel('Reason').fill('it pays everybody twice')
    await page.context().clearCookies()
    await page.getByText('You are signed out').first().waitFor()
    await signIn(page, world.secrets.admin)
    await openStop()
    await dialog.getByText('This stops').waitFor()
    expect(await dialog.getByLabel('Reason').inputValue()).toBe('it pays everybody twice')
    await page.keyboard.press('Escape')
    await openStop()
    expect(await dialog.getByLabel('Reason').inputValue()).toBe('')
    await page.keyboard.press('Escape')

    await page.evaluate(`Object.defineProperty(navigator, 'clipboard', { value: undefined })`)
    await page.getByRole('link', { name: 'Approvals' }).click()
    await page.getByRole('link', { name: 'send_payment' }).click()
    await page.getByRole('button', { name: 'Copy the digest' }).click()
    await page.getByRole('button', { name: 'Not copied, copy by hand: the digest' }).waitFor()
  }, 30_000)
})
