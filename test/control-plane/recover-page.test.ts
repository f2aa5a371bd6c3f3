import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { PATHS } from '../../src/machineid/paths.ts'
import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../fixtures/browser.ts'
import { OWNER, startTestRecovery, type TestRecovery } from '../fixtures/recovery.ts'

describe('the page of a recovery link', () => {
  test('comes from both lanes, takes nothing from elsewhere and tells nobody where one came from', async () => {
    await using recovery = await startTestRecovery()
    const { url, operatorUrl } = recovery.authority
    for (const base of [url, operatorUrl]) {
      const response = await fetch(`${base}/recover`)
      expect(response.status).toBe(200)
      const policy = response.headers.get('content-security-policy')?.split('; ')
      expect(policy).toEqual(expect.arrayContaining(["default-src 'none'", "script-src 'self'"]))
      expect(policy).toEqual(expect.arrayContaining(["frame-ancestors 'none'", "form-action 'none'"]))
      expect(policy?.join()).not.toMatch(/unsafe|https?:|\*|data:/)
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-type': 'text/html; charset=utf-8',
        'referrer-policy': 'no-referrer',
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
      })
      const html = await response.text()
      expect(html).not.toMatch(/https?:\/\/|<style|style=|<script(?![^>]*src=)| on\w+=/)
      for (const [, file] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
        const asset = await fetch(new URL(file ?? '', `${base}/recover`))
        expect(asset.status).toBe(200)
        expect(await asset.text()).not.toMatch(
          /https?:\/\/|innerHTML|eval\(|@import|localStorage|sessionStorage/,
        )
      }
    }
  })

  test('is only looked at: no other method, no path beside it', async () => {
    await using recovery = await startTestRecovery()
    const { url } = recovery.authority
    expect((await fetch(`${url}/recover`, { method: 'HEAD' })).status).toBe(200)
    for (const [method, path] of [
      ['POST', '/recover'],
      ['GET', '/recover/'],
      ['GET', '/recover/../recovery.ts'],
      ['GET', '/recover/%2e%2e/recover-page.ts'],
      ['GET', '/recover/index.html'],
    ] as const) {
      expect((await fetch(`${url}${path}`, { method })).status).toBe(404)
    }
  })
})

describe.skipIf(!hasChromium('the page of a recovery link'))('the page in a browser', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await startBrowser()
  })
  afterAll(() => browser.close())

  const pageOf = ({ authority }: TestRecovery, token: string) =>
    `${authority.operatorUrl}/recover#token=${token}`
  const shown = (page: BrowserPage) =>
    page.evaluate(
      `[...document.querySelectorAll('section')].filter((e) => !e.hidden).map((e) => e.id).join()`,
    )
  const text = (page: BrowserPage, id: string) => page.locator(`#${id}`).textContent()
  const click = (page: BrowserPage, id: string) => page.locator(`#${id}`).click()
  const appears = (page: BrowserPage, id: string) => page.locator(`#${id}`).waitFor()
  /** As from a mail: an address that differs in its last part only would load nothing. */
  const reopen = async (page: BrowserPage, url: string) => {
    await page.goto('about:blank')
    await page.goto(url)
  }
  const keysOf = async ({ authority }: TestRecovery) =>
    (await authority.service.listKeys(authority.orgId)).length

  test('opening it spends nothing; the button shows the key, once, and how to go on', async () => {
    await using recovery = await startTestRecovery()
    const token = await recovery.newToken()
    const before = await keysOf(recovery)
    const page = await browser.open(pageOf(recovery, token))
    expect(await shown(page)).toBe('ready')
    expect(await keysOf(recovery)).toBe(before)
    // By keyboard: to sign in is the first stop, the key the second.
    await page.keyboard.press('Tab')
    expect(await page.evaluate(`document.activeElement.id`)).toBe('sign-in')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await appears(page, 'done')
    expect(await keysOf(recovery)).toBe(before + 1)
    const key = String(await text(page, 'key'))
    const listed = await recovery.authority.get(PATHS.keys, key)
    expect(listed.status).toBe(200)
    expect(await text(page, 'org')).toBe(recovery.authority.orgId)
    expect(key).toContain(`_${String(await text(page, 'key-id'))}_`)
    expect(await text(page, 'commands')).toContain(
      `${recovery.authority.operatorUrl}/api/v1/org/keys/KEY_ID/burn`,
    )
    expect(await page.evaluate(`document.activeElement.textContent`)).toBe('Your new admin key')
    expect(await page.evaluate(`location.href`)).toBe(`${recovery.authority.operatorUrl}/recover`)
    await click(page, 'copy')
    await page.locator('#copied:not(:empty)').waitFor()
    expect(await page.evaluate(`getSelection().toString()`)).toBe(key)
    expect(page.complaints).toEqual([])

    await reopen(page, pageOf(recovery, token))
    await click(page, 'confirm')
    await appears(page, 'gone')
    expect(await shown(page)).toBe('gone')
    expect(await keysOf(recovery)).toBe(before + 1)
  })

  test('the first button signs in to the console: a cookie that no script sees, and no key', async () => {
    await using recovery = await startTestRecovery({ consoleUrl: undefined })
    const token = await recovery.newToken()
    const page = await browser.open(pageOf(recovery, token))
    await click(page, 'sign-in')
    await page.waitForURL((url) => url.pathname === '/console')
    expect(await page.evaluate(`document.cookie`)).toBe('')
    const session = await page.evaluate(
      `fetch('/api/v1/session').then((answer) => answer.json()).then(({ email, kind }) => [email, kind].join())`,
    )
    expect(session).toBe(`${OWNER},admin`)
    await reopen(page, pageOf(recovery, token))
    await click(page, 'sign-in')
    await appears(page, 'gone')
  })

  test('a link that lost its end says so, and a new one can be asked for there', async () => {
    await using recovery = await startTestRecovery()
    const page = await browser.open(pageOf(recovery, 'hpr_tooshort'))
    expect(await shown(page)).toBe('malformed')
    await page.getByLabel('Email address of an owner').fill(OWNER)
    await page.getByRole('button', { name: 'Send a link' }).click()
    await page.getByText('If this address owns an org').waitFor()
    await recovery.authority.controlPlane.recovery.flush()
    expect(recovery.mailsTo(OWNER)).toHaveLength(1)
    await reopen(page, `${recovery.authority.operatorUrl}/recover`)
    expect(await shown(page)).toBe('start')
    expect(page.complaints).toEqual([])
  })

  test('another link pasted into the same tab is the one that counts', async () => {
    await using recovery = await startTestRecovery()
    const page = await browser.open(pageOf(recovery, 'hpr_tooshort'))
    await page.evaluate(`location.hash = 'token=hpr_${'a'.repeat(43)}'`)
    await appears(page, 'ready')
  })

  test.each([
    ['a phone', 320],
    ['a desk', 1280],
  ])('nothing sticks out on %s', async (_, width) => {
    await using recovery = await startTestRecovery()
    const page = await browser.open(pageOf(recovery, await recovery.newToken()), {
      width,
      height: 700,
      dark: width < 600,
    })
    const fits = `document.documentElement.scrollWidth <= innerWidth`
    expect(await page.evaluate(fits)).toBe(true)
    await click(page, 'confirm')
    await appears(page, 'done')
    expect(await page.evaluate(fits)).toBe(true)
  })

  test('a control plane that is gone is told, and the same link still works when it is back', async () => {
    await using recovery = await startTestRecovery()
    const token = await recovery.newToken()
    const page = await browser.open(pageOf(recovery, token))
    await recovery.authority.kill()
    await click(page, 'confirm')
    await page.getByText('The control plane does not answer').waitFor()
    expect(await shown(page)).toBe('ready')
    await recovery.authority.restart()
    await click(page, 'confirm')
    await appears(page, 'done')
  })
})
