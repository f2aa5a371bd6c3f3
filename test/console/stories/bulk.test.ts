import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { signIn, troubleOf } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'

const numbered = (count: number, of: string) =>
  Array.from({ length: count }, (_, at) => `${of}:${String(at).padStart(3, '0')}`)
const PAYMENTS = numbered(520, 'fleet:prod:payments')
const OTHERS = numbered(10, 'fleet:dev:payments')
/** Revoked before, for reasons of their own. */
const BEFORE = PAYMENTS.slice(0, 7)
const [GONE = ''] = PAYMENTS.slice(-1)

describe.skipIf(!hasChromium('bulk changes in the console'))('520 devices at once in the console', () => {
  let world: ConsoleWorld
  let browser: Browser
  let page: BrowserPage

  const revoked = async (): Promise<string[]> => {
    const { devices } = await world.get(PATHS.list)
    const rows = devices as readonly { readonly deviceId: string; readonly revoked: boolean }[]
    return rows.flatMap((row) => (row.revoked ? [row.deviceId] : [])).toSorted()
  }
  const stops = async (): Promise<{ action: string; epoch: number; deviceCount: number }[]> =>
    (await world.get(PATHS.stopHistory)).stops
  const dialog = (name: string) => page.getByRole('dialog', { name })

  beforeAll(async () => {
    world = await startConsoleWorld({ toolServer: false })
    await world.setPlan(1000)
    await world.registerMany([...PAYMENTS, ...OTHERS])
    for (const deviceId of BEFORE) await world.post(PATHS.revoke, { deviceId, reason: 'broken before' })
    browser = await startBrowser()
    page = await browser.open(`${world.url}/console/devices`)
    await signIn(page, world.secrets.operator)
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await world?.close()
  })

  it('filters, selects all that match, and shows what a revoke would hit', async () => {
    await page.getByText('530 devices', { exact: true }).waitFor()
    await page.getByRole('combobox', { name: 'Environment' }).click()
    await page.getByRole('option', { name: 'prod', exact: true }).click()
    await page.getByRole('searchbox', { name: 'Search' }).fill('payments')
    await page.getByRole('button', { name: 'Select all 520 matching' }).click()
    await page.getByText('520 of 530 devices, 520 selected').waitFor()
    await page.getByRole('button', { name: 'Revoke selected' }).click()
    const revoke = dialog('Revoke 520 devices')
    await revoke.getByText('This stops 513 devices').waitFor()
    await revoke.getByText(/7 more devices it is about are denied already/).waitFor()
  })

  it('takes no reason for none, and tells of each device what became of it, in one stop of one epoch', async () => {
    const before = await stops()
    const revoke = dialog('Revoke 520 devices')
    await revoke.getByRole('button', { name: 'Revoke 520 devices' }).click()
    expect(page.requested.some((url) => url.endsWith(PATHS.revokeBatch))).toBe(false)
    expect(await revoked()).toEqual(BEFORE)

    await revoke.getByLabel('Reason').fill('a bad release')
    await revoke.getByRole('button', { name: 'Revoke 520 devices' }).click()
    await revoke.getByText('520 of 520 devices revoked').waitFor()
    const rows = revoke.getByRole('table', { name: 'Results' }).getByRole('row')
    await rows
      .filter({ hasText: PAYMENTS[199] ?? '' })
      .filter({ hasText: /done$/ })
      .waitFor()
    await revoke.getByText('and 320 more: copy the results to see them.').waitFor()

    expect(await revoked()).toEqual(PAYMENTS)
    const made = (await stops()).slice(0, -before.length).filter(({ action }) => action === 'device.revoke')
    expect(made).toMatchObject([{ deviceCount: 520 }])
    await revoke.getByText(`It holds since epoch ${made[0]?.epoch}.`).waitFor()
  })

  it('restores exactly what that stop took away: what was revoked before it stays revoked', async () => {
    await world.post(PATHS.remove, { deviceId: GONE })
    await page.getByRole('link', { name: 'See which replicas have confirmed it' }).click()
    await page.getByRole('heading', { level: 1, name: 'Revoked 520 devices' }).waitFor()
    await page.getByText('8 devices of this stop would be left as they are:').waitFor()
    const left = page.getByRole('region', { name: 'Devices that are left alone' })
    await left.getByText(`${GONE} was removed since`).waitFor()
    for (const deviceId of BEFORE)
      await left.getByText(`${deviceId} was revoked already before this stop`).waitFor()

    await page.getByRole('button', { name: 'Restore 512 devices …' }).click()
    const restore = page.getByRole('dialog', { name: /^Restore what was stopped in epoch/ })
    await restore.getByLabel('Reason').fill('the release is taken back')
    await restore.getByRole('button', { name: 'Restore 512 devices' }).click()
    await restore.getByText('512 of 512 devices restored.').waitFor()
    await restore.getByRole('button', { name: 'Close' }).last().click()
    expect(await revoked()).toEqual(BEFORE)
  })

  it('refuses, row by row, what somebody else has changed since it was shown (G6)', async () => {
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Devices' }).click()
    const chosen = BEFORE.slice(0, 3)
    for (const deviceId of chosen) await page.getByRole('checkbox', { name: `Select ${deviceId}` }).check()
    await page.getByRole('button', { name: 'Restore selected' }).click()
    const restore = dialog('Restore 3 devices')
    await restore.getByLabel('Reason').fill('repaired')
    await world.post(PATHS.revoke, { deviceId: chosen[1], reason: 'broken again' })
    await restore.getByRole('button', { name: 'Restore 3 devices' }).click()
    await restore.getByText('2 of 3 devices restored').waitFor()
    const row = restore.getByRole('row').filter({ hasText: chosen[1] ?? '' })
    await row.getByText('refused Somebody changed it after it was shown. Look at it again.').waitFor()
    expect(await revoked()).toEqual([chosen[1], ...BEFORE.slice(3)])
  })

  it('did all that without a complaint of the browser', () => {
    expect(troubleOf(page)).toEqual([])
  })
})
