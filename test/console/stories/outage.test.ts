import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { signIn, troubleOf } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'

const DEVICE = 'openai-agent:test:payments:01'
const NAMES = [
  'Overview',
  'Devices',
  'Stops',
  'Approvals',
  'Runs',
  'Decisions',
  'Keys',
  'Plan',
  'Audit',
  'Drills',
]
const ALL_IS_WELL = /everything allowed|everything is allowed\.|org is allowed|nothing is stopped\./i
/** Which pages could be shown by now with nobody answering: each is a file of its own. */
const loadedPages = () => {
  const files = performance.getEntriesByType('resource').map(({ name }) => name)
  const names = [
    'Overview',
    'Devices',
    'Stops',
    'Approvals',
    'Runs',
    'Decisions',
    'Keys',
    'Plan',
    'Audit',
    'Drills',
  ]
  return names.filter((name) =>
    files.some((file) => file.includes(`/assets/${name.toLowerCase()}-`) && file.endsWith('.js')),
  )
}
/** The pages ask every 5 s how things stand. */
const NEXT_LOOK = { timeout: 9000 }

describe.skipIf(!hasChromium('the console during an outage'))(
  'the control plane killed under the console',
  () => {
    let world: ConsoleWorld
    let browser: Browser
    let page: BrowserPage
    let decisions: BrowserPage
    let stopPage: BrowserPage

    const unreachable = (of: BrowserPage) =>
      of.getByRole('alert').filter({ hasText: 'The console cannot reach the control plane.' })
    /** As an agent does at a hold point. */
    const ask = async (callId: string) => {
      const { runtime } = JSON.parse(readFileSync(join(world.dataDir, 'tool-server.json'), 'utf8'))
      const response = await fetch(`${world.agentUrl}${PATHS.validate}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-org-key': runtime },
        body: JSON.stringify({ deviceId: DEVICE, context: { boundary: 'tool', tool: callId } }),
      })
      expect(response.status).toBe(200)
    }

    beforeAll(async () => {
      world = await startConsoleWorld({ toolServer: false, env: { DECISION_LOG: 'all' } })
      browser = await startBrowser()
      await world.registerMany([DEVICE])
      page = await browser.open(`${world.url}/console/`)
      await signIn(page, world.secrets.admin)
      decisions = await browser.openTab(page, `${world.url}/console/decisions`)
      stopPage = await browser.openTab(page, `${world.url}/console/stop`)
    }, 60_000)
    afterAll(async () => {
      await browser?.close()
      await world?.close()
    })

    it('says within seconds that it cannot be reached, and since when what is shown is old', async () => {
      await page.getByText('Everything is allowed.', { exact: true }).waitFor()
      await stopPage.getByText('The org is allowed').waitFor()
      await ask('before_the_outage')
      await decisions.getByText('before_the_outage').waitFor()
      await expect.poll(() => page.evaluate(loadedPages), NEXT_LOOK).toEqual(NAMES)

      await world.killControlPlane()
      for (const of of [page, decisions]) {
        await unreachable(of).waitFor(NEXT_LOOK)
        await unreachable(of)
          .getByText(
            /is not known here\. What you see is from \d\d:\d\d:\d\d\..* every hold point denies already\./,
          )
          .waitFor()
      }
      await stopPage.getByRole('heading', { name: '▲ No answer' }).waitFor(NEXT_LOOK)
      await stopPage.getByText(/What stands below is from .*\d\d:\d\d:\d\d/).waitFor()
      expect(await stopPage.getByText(ALL_IS_WELL).count()).toBe(0)
    })

    it('never looks as if all were well, on any page', async () => {
      await page.bringToFront()
      for (const name of NAMES) {
        await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true }).click()
        await page.getByRole('heading', { level: 1, name, exact: true }).waitFor()
        expect(await unreachable(page).count(), name).toBe(1)
        expect(await page.getByText(ALL_IS_WELL).allInnerTexts(), name).toEqual([])
        await page.getByRole('banner').getByText('Unreachable').waitFor()
      }
    })

    it('does not take a stop that got no answer for one that was made', async () => {
      await page.getByRole('button', { name: 'Stop everything' }).click()
      const dialog = page.getByRole('dialog', { name: 'Stop everything' })
      await dialog.getByLabel('Reason').fill('the control plane is dead')
      await dialog.getByRole('button', { name: 'Stop everything' }).click()
      await dialog
        .getByRole('alert')
        .getByText(/Whether a change that was just sent was made is not known/)
        .first()
        .waitFor()
      expect(await dialog.getByText(/is disabled/).count()).toBe(0)
      await dialog.getByRole('button', { name: 'Cancel' }).click()
    })

    it('recovers by itself once it is back: still signed in, current, and live, even where a proxy answered meanwhile', async () => {
      // Of an answer that is no stream a browser makes an end: no event would ever come again.
      let answered = 0
      await decisions.route(`**${PATHS.feed}*`, async (route) => {
        answered += 1
        await (answered <= 2 ? route.fulfill({ status: 502, body: 'bad gateway' }) : route.continue())
      })
      await expect.poll(() => answered, NEXT_LOOK).toBeGreaterThan(0)
      const before = page.requested.length
      await world.reviveControlPlane()
      for (const of of [page, decisions]) {
        await unreachable(of).waitFor({ state: 'detached', ...NEXT_LOOK })
        await of.getByRole('button', { name: /^Account: signed in with admin/ }).waitFor()
        await of.getByRole('banner').getByText('Everything allowed').waitFor()
      }
      await stopPage.getByRole('heading', { name: '✓ The org is allowed' }).waitFor(NEXT_LOOK)
      expect(
        page.requested.slice(before).filter((url) => /\/console\/?$|\.js$/.test(url)),
        'nothing was loaded anew',
      ).toEqual([])

      const isBack = () => decisions.requested.filter((url) => url.includes('types=decision')).length
      await expect.poll(isBack, NEXT_LOOK).toBeGreaterThan(1)
      await expect.poll(() => answered, { timeout: 15_000 }).toBeGreaterThan(3)
      await ask('after_the_outage')
      await decisions.getByText('after_the_outage').waitFor()
      await world.post(PATHS.orgDisable, { reason: 'to see it told' })
      for (const of of [page, decisions])
        await of.getByRole('banner').getByText('ORG DISABLED').waitFor({ timeout: 10_000 })
    })

    it('did all that without a complaint of the browser', () => {
      expect([page, decisions, stopPage].flatMap(troubleOf)).toEqual([])
    })
  },
)
