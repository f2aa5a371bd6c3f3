// Stories of everything at once, of two people at once, and of a pattern. G1, G6.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { openConsole, troubleOf } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'
import { createPayingAgent } from '../../fixtures/paying-agent.ts'

const PAGES = ['Overview', 'Devices', 'Stops', 'Approvals', 'Runs', 'Decisions', 'Plan', 'Audit', 'Drills']
const DISABLED = 'The org is disabled: nothing is allowed, on any device.'
const STALE = 'Somebody else was faster. Nothing was changed.'

describe.skipIf(!hasChromium('a story of the console'))('The org in the browser', () => {
  let world: ConsoleWorld
  let browser: Browser
  let agent: Awaited<ReturnType<typeof createPayingAgent>>
  let operator: BrowserPage
  let admin: BrowserPage

  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startConsoleWorld(), startBrowser()])
    agent = await createPayingAgent(world)
    operator = await openConsole(browser, world, { as: 'operator', at: '/drills' })
    admin = await openConsole(browser, world, { as: 'admin', at: '/plan' })
  }, 60_000)
  afterAll(async () => {
    agent?.close()
    await browser?.close()
    await world?.close()
  })

  it('is stopped whole from any page, after the dialog has named what that hits', async () => {
    expect((await agent.pay()).code).toBe('OK')
    await operator.getByRole('button', { name: 'Stop everything' }).click()
    const dialog = operator.getByRole('dialog', { name: 'Stop everything' })
    await dialog.getByText('This stops 3 devices').waitFor()
    const hit = await dialog.getByRole('group', { name: 'Devices that are hit' }).innerText()
    for (const surface of ['tool-server', 'payments', 'email'])
      expect(hit).toMatch(new RegExp(`:${surface}:\\d+ ALLOW → ORG_DISABLED`))
    // Without a reason nothing is sent.
    await dialog.getByRole('button', { name: 'Stop everything' }).click()
    expect((await world.get('/api/v1/usage')).org.disabled).toBe(false)
    await dialog.getByLabel('Reason').fill('the model was changed under us')
    await dialog.getByRole('button', { name: 'Stop everything' }).click()
    await dialog.getByText(/^The org is disabled, with epoch \d+\./).waitFor()
    const { code, requestId } = await agent.pay()
    expect({ code, paid: agent.paid() }).toEqual({ code: 'ORG_DISABLED', paid: 1 })
    expect(requestId).toMatch(/^[\w-]{10,}$/)
    await dialog.getByText('Confirmed by the one replica').waitFor()
    await dialog.getByRole('button', { name: 'Close' }).last().click()
  })

  it('says on every page who disabled it, when and why, and offers an operator no way back', async () => {
    const { org } = await world.get('/api/v1/usage')
    for (const name of PAGES) {
      await operator.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name }).click()
      await operator.getByRole('heading', { level: 1, name }).waitFor()
      const banner = operator.getByRole('alert').filter({ hasText: DISABLED })
      const said = await banner.innerText()
      expect(said, name).toContain(org.by)
      expect(said, name).toContain('the model was changed under us')
      expect(said, name).toContain('It takes an admin key to enable it.')
      expect(await banner.locator('time').getAttribute('datetime'), name).toBe(org.since)
      expect(await operator.getByRole('button', { name: /Enable/ }).count(), name).toBe(0)
    }
    const disabled = await world.get('/api/v1/stops/history?limit=1')
    await operator.goto(`${world.url}/console/stops/${disabled.stops[0].epoch}`)
    await operator.getByText('A key of kind operator may not do this: ask an admin.').waitFor()
  })

  it('is enabled by an admin, and the agent goes on', async () => {
    await admin.getByRole('alert').getByRole('button', { name: 'Enable the org' }).click()
    const dialog = admin.getByRole('dialog', { name: 'Enable the org' })
    await dialog.getByText('the model was changed under us').waitFor()
    await dialog.getByRole('button', { name: 'Enable the org' }).click()
    await dialog.getByText(/^The org is enabled, with epoch/).waitFor()
    expect((await agent.pay()).code).toBe('OK')
    // On the page of everybody else it is gone by itself.
    await operator.getByText(DISABLED).waitFor({ state: 'hidden' })
    await operator.getByRole('banner').getByText('Everything allowed').waitFor()
    await dialog.getByRole('button', { name: 'Close' }).last().click()
  })

  it('keeps a device revoked when the form that would restore it is older than another’s stop', async () => {
    const payments = await deviceOf('payments')
    await world.post('/api/v1/devices/revoke', { deviceId: payments, reason: 'mine' }, 'operator')
    await operator.goto(`${world.url}/console/devices`)
    await operator.getByRole('button', { name: `Restore ${payments}` }).click()
    const form = operator.getByRole('dialog', { name: 'Restore a device' })
    await form.getByText('mine').waitFor()

    await admin.goto(`${world.url}/console/devices?device=${encodeURIComponent(payments)}`)
    await admin.getByRole('button', { name: 'Revoke again' }).click()
    const other = admin.getByRole('dialog', { name: 'Revoke a device' })
    await other.getByLabel('Reason').fill('still wrong, says the other')
    await other.getByRole('button', { name: 'Revoke', exact: true }).click()
    await other.getByText(/is revoked/).waitFor()

    await form.getByRole('button', { name: 'Restore', exact: true }).click()
    await form.getByText(STALE).waitFor()
    await form.getByText('EPOCH_STALE').waitFor()
    expect((await agent.pay()).code).toBe('DEVICE_REVOKED')
    // It shows by now what it is about, and works.
    await form.getByText('still wrong, says the other').waitFor()
    await form.getByRole('button', { name: 'Restore', exact: true }).click()
    await form.getByText(/is restored at epoch/).waitFor()
    expect((await agent.pay()).code).toBe('OK')
  })

  it('stops what a pattern matches, shown before, and tells of a pattern that is none or matches nothing', async () => {
    const email = await deviceOf('email')
    await operator.goto(`${world.url}/console/devices`)
    await operator.getByRole('button', { name: 'Stop a surface' }).click()
    const dialog = operator.getByRole('dialog', { name: 'Stop a surface' })
    const pattern = dialog.getByLabel('Pattern')
    const stop = dialog.getByRole('button', { name: 'Stop', exact: true })
    await pattern.fill('*:*:pay*:*')
    await dialog.getByText('This cannot be shown.').waitFor()
    expect(await stop.isDisabled()).toBe(true)
    await pattern.fill('*:*:refunds:*')
    await dialog.getByText('No device matches this now').waitFor()
    await pattern.fill('*:*:email:*')
    await dialog.getByText('This stops 1 device').waitFor()
    await dialog.getByText(`${email} ALLOW → DEVICE_LOCKED`).waitFor()
    await dialog.getByLabel('Reason').fill('spam')
    await stop.click()
    await dialog.getByText(/is locked/).waitFor()
    await dialog.getByRole('button', { name: 'Close' }).last().click()
    await operator.getByRole('row', { name: email }).getByText('locked').first().waitFor()
    // Only what it matches.
    expect((await agent.pay()).code).toBe('OK')
  })

  it('keeps a lock that was set again while somebody looked at a form to release it', async () => {
    await operator.getByRole('tab', { name: 'Locks (1)' }).click()
    await operator.getByRole('button', { name: 'Release *:*:email:*' }).click()
    const form = operator.getByRole('dialog', { name: 'Release a lock' })
    await form.getByText('spam').waitFor()

    const { locks } = await world.get('/api/v1/locks')
    const { lockId, epoch } = locks[0]
    await world.post(`/api/v1/locks/${lockId}/release`, { ifEpoch: epoch })
    await world.post('/api/v1/locks', { pattern: '*:*:email:*', reason: 'phishing, says the other' })

    await form.getByRole('button', { name: 'Release the lock' }).click()
    await form.getByText(STALE).waitFor()
    const held = await world.get('/api/v1/locks')
    expect(held.locks.map(({ reason }: { readonly reason: string }) => reason)).toEqual([
      'phishing, says the other',
    ])
    await form.getByText('phishing, says the other').waitFor()
    await form.getByRole('button', { name: 'Release the lock' }).click()
    await form.getByText(/is released at epoch/).waitFor()
    expect((await world.get('/api/v1/locks')).locks).toEqual([])
  })

  it('was switched without a complaint of the browser', () => {
    expect([...troubleOf(operator), ...troubleOf(admin)]).toEqual([])
  })

  const deviceOf = async (surface: string): Promise<string> => {
    const { devices } = await world.get('/api/v1/devices/list')
    const ids: string[] = devices.map(({ deviceId }: { readonly deviceId: string }) => deviceId)
    return ids.find((id) => id.includes(`:${surface}:`)) ?? ''
  }
})
