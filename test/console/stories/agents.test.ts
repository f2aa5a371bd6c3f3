// Stories of one operator and one agent that pays: payments are stopped in the browser while it works. G1, G6, G8.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { markPage, openConsole, troubleOf, wasReloaded } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'
import { createPayingAgent, type TriedPayment } from '../../fixtures/paying-agent.ts'

type PayingAgent = Awaited<ReturnType<typeof createPayingAgent>>
type Work = ReturnType<PayingAgent['keepPaying']>

const PAYMENTS = /:payments:/

describe.skipIf(!hasChromium('a story of the console'))('An agent that is stopped in the browser', () => {
  let world: ConsoleWorld
  let browser: Browser
  let agent: PayingAgent
  let operator: BrowserPage
  let onlooker: BrowserPage

  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startConsoleWorld(), startBrowser()])
    agent = await createPayingAgent(world)
    operator = await openConsole(browser, world, { as: 'operator', at: '/devices' })
    onlooker = await openConsole(browser, world, { as: 'viewer', at: '/stops' })
    await onlooker.getByText('Nothing has been stopped.').waitFor()
  }, 60_000)
  afterAll(async () => {
    agent?.close()
    await browser?.close()
    await world?.close()
  })

  it('is denied its next payment once somebody has revoked payments, and nothing is paid until they are restored', async () => {
    const work = agent.keepPaying()
    await until(() => work.calls.length > 0)
    expect(work.calls[0]?.code).toBe('OK')
    await markPage(onlooker)

    await operator.getByRole('button', { name: /^Revoke .*:payments:/ }).click()
    const dialog = operator.getByRole('dialog', { name: 'Revoke a device' })
    await dialog.getByText('This stops 1 device').waitFor()
    await dialog.getByLabel('Reason').fill('something looks wrong')
    await dialog.getByRole('button', { name: 'Revoke', exact: true }).click()
    await dialog.getByText(/is revoked/).waitFor()
    const { denied, paid } = await deniedFromNowOn(work, agent)
    expect(denied.map(({ code }) => code)).toEqual(['DEVICE_REVOKED', 'DEVICE_REVOKED'])

    // Whoever looks on sees it, confirmed by the tool server, without having asked again.
    const row = onlooker.getByRole('row', { name: PAYMENTS })
    await row.getByText('Confirmed', { exact: true }).waitFor()
    expect(await row.innerText()).toMatch(/1 of 1 replica/)
    expect(await row.innerText()).toMatch(/something looks wrong/)
    await row.getByRole('link').click()
    const replicas = onlooker.getByRole('table', { name: /What every replica made of it/ })
    await replicas.getByText('confirmed', { exact: true }).waitFor()
    expect(await wasReloaded(onlooker)).toBe(false)

    await dialog.getByRole('link', { name: 'See which replicas have confirmed it' }).click()
    await operator.getByRole('heading', { level: 1, name: /Revoked .*:payments:/ }).waitFor()
    await operator.getByText('1 device would come back, and nothing else').waitFor()
    expect(agent.paid()).toBe(paid)
    await operator.getByRole('button', { name: 'Restore 1 device …' }).click()
    await confirm(operator, 'Restore 1 device')
    await operator.getByText('1 of 1 device restored.').waitFor()
    await until(() => agent.paid() > paid)
    await work.stop()
    expect(inTurn(work)).toEqual(['OK', 'DEVICE_REVOKED', 'OK'])
    expect(agent.paid()).toBe(work.calls.filter(({ code }) => code === 'OK').length)
    await operator.getByRole('button', { name: 'Close' }).last().click()
  })

  it('leaves a denial behind whose page says why, who, when and what to do', async () => {
    const { payments } = await devicesOf(world)
    const { epoch } = await world.post(
      '/api/v1/devices/revoke',
      { deviceId: payments, reason: 'asked by Ada' },
      'operator',
    )
    const { code, requestId } = await agent.pay()
    expect(code).toBe('DEVICE_REVOKED')
    await operator.goto(`${world.url}/console/decisions/${requestId}`)

    const card = operator.getByRole('article', { name: `Decision on ${payments}` })
    await card.getByText('denied: DEVICE_REVOKED').waitFor()
    expect(await card.innerText()).toContain('send_payment')
    const stop = card.getByRole('region', { name: 'The stop' })
    expect(await stop.innerText()).toMatch(/By\s+operator:/)
    expect(await stop.innerText()).toMatch(/At\s+\d+ \w+ \d{4}/)
    expect(await stop.innerText()).toMatch(/Reason\s+asked by Ada/)
    await stop.getByRole('link', { name: `device.revoke, epoch ${epoch}` }).waitFor()
    const now = card.getByRole('region', { name: 'What holds now, and what to do' })
    await now.getByText('still DEVICE_REVOKED').waitFor()
    expect(await now.innerText()).toContain(`npx holdpoint`)

    await world.post('/api/v1/devices/unrevoke', { deviceId: payments, ifEpoch: epoch }, 'operator')
    await now.getByText('it would be allowed').waitFor()
  })

  it('stays stopped, as does what was stopped before, but for what the one stop took away', async () => {
    const { payments, email } = await devicesOf(world)
    await world.post('/api/v1/devices/revoke', { deviceId: email, reason: 'before' }, 'operator')
    await operator.goto(`${world.url}/console/devices`)
    for (const deviceId of [payments, email])
      await operator.getByRole('checkbox', { name: `Select ${deviceId}` }).check()
    await operator.getByRole('button', { name: 'Revoke selected' }).click()
    await operator.getByLabel('Reason').fill('both of them')
    await confirm(operator, 'Revoke 2 devices')
    await operator.getByText('2 of 2 devices revoked').waitFor()
    expect((await agent.pay()).code).toBe('DEVICE_REVOKED')

    await operator.getByRole('link', { name: 'See which replicas have confirmed it' }).click()
    const alone = operator.getByRole('region', { name: 'Devices that are left alone' }).first()
    expect(await alone.innerText()).toContain(`${email} was revoked already before this stop`)
    await operator.getByRole('button', { name: 'Restore 1 device …' }).click()
    await confirm(operator, 'Restore 1 device')
    await operator.getByText('1 of 1 device restored.').waitFor()
    expect((await agent.pay()).code).toBe('OK')
    const { devices } = await world.get('/api/v1/devices/list')
    expect(devices.filter(isRevoked).map(idOf)).toEqual([email])
  })

  it('is stopped by a lock of its surface as well, and goes on when that is released', async () => {
    await operator.goto(`${world.url}/console/devices`)
    const work = agent.keepPaying()
    await until(() => work.calls.length > 0)
    await operator.getByRole('button', { name: 'Stop a surface' }).click()
    const dialog = operator.getByRole('dialog', { name: 'Stop a surface' })
    await dialog.getByLabel('Surface').fill('payments')
    await dialog.getByText('This stops 1 device').waitFor()
    expect(await dialog.getByLabel('Pattern').inputValue()).toBe('*:*:payments:*')
    await dialog.getByLabel('Reason').fill('the bank asks us to')
    await dialog.getByRole('button', { name: 'Stop', exact: true }).click()
    await dialog.getByText(/is locked/).waitFor()
    const { denied, paid } = await deniedFromNowOn(work, agent)
    expect(denied.map(({ code }) => code)).toEqual(['DEVICE_LOCKED', 'DEVICE_LOCKED'])

    await dialog.getByRole('link', { name: 'See which replicas have confirmed it' }).click()
    await operator.getByText('1 of 1 replica.').waitFor()
    await operator.goto(`${world.url}/console/decisions/${denied[0]?.requestId}`)
    await operator.getByText('denied: DEVICE_LOCKED').waitFor()
    const stop = operator.getByRole('region', { name: 'The stop' })
    expect(await stop.innerText()).toContain('the bank asks us to')
    expect(agent.paid()).toBe(paid)
    await stop.getByRole('link', { name: /lock.add, epoch/ }).click()
    await operator.getByRole('button', { name: 'Release the lock …' }).click()
    await operator.getByLabel('Reason').fill('the bank is back')
    await confirm(operator, 'Release the lock')
    await operator.getByText(/^Done, in epoch/).waitFor()
    await until(() => agent.paid() > paid)
    await work.stop()
    expect(inTurn(work)).toEqual(['OK', 'DEVICE_LOCKED', 'OK'])
  })

  it('was watched without a complaint of the browser', () => {
    expect([...troubleOf(operator), ...troubleOf(onlooker)]).toEqual([])
  })
})

/** The first two payments that began from now on, and how many were paid by then (G1). */
async function deniedFromNowOn(work: Work, agent: PayingAgent) {
  const nowMs = performance.now()
  const later = (): TriedPayment[] => work.calls.filter(({ startedAtMs }) => startedAtMs > nowMs)
  await until(() => later().length >= 2)
  return { denied: later().slice(0, 2), paid: agent.paid() }
}

/** Every answer that differs from the one before. */
function inTurn({ calls }: Work): string[] {
  return calls.map(({ code }) => code).filter((code, at, all) => code !== all[at - 1])
}

async function confirm(page: BrowserPage, name: string): Promise<void> {
  await page.getByRole('dialog').getByRole('button', { name, exact: true }).click()
}

async function devicesOf(
  world: ConsoleWorld,
): Promise<{ readonly payments: string; readonly email: string }> {
  const { devices } = await world.get('/api/v1/devices/list')
  const find = (surface: string): string =>
    devices.map(idOf).find((id: string) => id.includes(`:${surface}:`))
  return { payments: find('payments'), email: find('email') }
}

const idOf = ({ deviceId }: { readonly deviceId: string }) => deviceId
const until = (isSo: () => boolean) => vi.waitUntil(isSo, { timeout: 10_000, interval: 20 })
const isRevoked = ({ revoked }: { readonly revoked: boolean }) => revoked
