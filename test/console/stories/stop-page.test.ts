// Stories of the stop page: one thumb, a small phone, a bad line, and at last no control plane at all. G1, G5.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { enterKey, troubleOf } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'
import { createPayingAgent } from '../../fixtures/paying-agent.ts'

const WIDTH_PX = 360
const THUMB_PX = 44
const MAX_BYTES = 100_000

describe.skipIf(!hasChromium('a story of the console'))('The stop page on a phone', () => {
  let world: ConsoleWorld
  let browser: Browser
  let agent: Awaited<ReturnType<typeof createPayingAgent>>
  let phone: BrowserPage

  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startConsoleWorld(), startBrowser()])
    agent = await createPayingAgent(world)
    phone = await browser.open('about:blank', { width: WIDTH_PX, height: 640 })
  }, 60_000)
  afterAll(async () => {
    agent?.close()
    await browser?.close()
    await world?.close()
  })

  it('comes in less than 100 kB, with its script and its style', async () => {
    const sent = new Map<string, Promise<number>>()
    phone.on('requestfinished', (request) => {
      const type = request.resourceType()
      const bytes = request.sizes().then((sizes) => sizes.responseBodySize + sizes.responseHeadersSize)
      if (type !== 'fetch') sent.set(`${type} ${request.url()}`, bytes)
    })
    await phone.goto(`${world.url}/console/stop`, { waitUntil: 'networkidle' })
    const types = [...sent.keys()].map((name) => name.split(' ')[0])
    expect(types).toEqual(expect.arrayContaining(['document', 'script', 'stylesheet']))
    const bytes = (await Promise.all(sent.values())).reduce((sum, one) => sum + one, 0)
    console.info(`the stop page: ${bytes} bytes in ${sent.size} answers`)
    expect(bytes).toBeGreaterThan(2000)
    expect(bytes).toBeLessThan(MAX_BYTES)
    phone.removeAllListeners('requestfinished')
  })

  it('takes a stop key, and fits the phone and the thumb', async () => {
    await fits(phone)
    await enterKey(phone, world.secrets.stop)
    await phone.getByRole('heading', { name: '✓ The org is allowed' }).waitFor()
    await phone.getByRole('button', { name: 'Stop payments' }).waitFor()
    await fits(phone)
    // The one that stops everything is in reach without scrolling.
    const box = await phone.getByRole('button', { name: 'Stop everything' }).boundingBox()
    expect((box?.y ?? 0) + (box?.height ?? 0)).toBeLessThanOrEqual(640)
  })

  it('stops payments with two touches, and says live who has confirmed it', async () => {
    expect((await agent.pay()).code).toBe('OK')
    await phone.getByRole('button', { name: 'Stop payments' }).tap()
    const dialog = phone.getByRole('dialog')
    await dialog.getByText('1 device allowed now will be denied').waitFor()
    await fits(phone)
    await dialog.getByRole('button', { name: 'Stop payments' }).tap()
    await dialog.getByRole('heading', { name: 'Stop payments: it holds.' }).waitFor()
    const { code } = await agent.pay()
    expect({ code, paid: agent.paid() }).toEqual({ code: 'DEVICE_LOCKED', paid: 1 })
    await dialog.getByText('Confirmed by the one replica').waitFor()
    await dialog
      .getByRole('list', { name: 'Replicas' })
      .getByText(/✓ confirmed/)
      .waitFor()
    await fits(phone)
    await dialog.getByRole('button', { name: 'Close' }).tap()
    await phone.getByText('1 device, all stopped').waitFor()
    expect((await world.get('/api/v1/locks')).locks[0]).toMatchObject({
      pattern: '*:*:payments:*',
      reason: 'stopped from the stop page',
    })
  })

  it('never takes silence for safety, and stops once the control plane is back', async () => {
    await world.killControlPlane()
    await phone.getByRole('heading', { name: '▲ No answer' }).waitFor()
    await phone.getByText('whether anything is stopped is not known').waitFor()
    await phone.getByText('every hold point denies already').waitFor()
    await phone.getByText('stop from a computer that reaches it: npx holdpoint panic').waitFor()
    await phone.getByRole('button', { name: 'Stop everything' }).tap()
    const dialog = phone.getByRole('dialog')
    await dialog.getByText('You can stop all the same.').waitFor()
    await dialog.getByLabel('Reason (optional)').fill('at 2 am')
    await dialog.getByRole('button', { name: 'Stop everything' }).tap()
    await dialog.getByText('No answer came: it is not known whether it stopped.').waitFor()
    await dialog.getByText('every hold point denies already').waitFor()
    await fits(phone)

    await world.reviveControlPlane()
    await dialog.getByRole('button', { name: 'Try again' }).tap()
    await dialog.getByRole('heading', { name: 'Stop everything: it holds.' }).waitFor()
    const { code } = await agent.pay()
    expect({ code, paid: agent.paid() }).toEqual({ code: 'ORG_DISABLED', paid: 1 })
    await dialog.getByText('Confirmed by the one replica').waitFor()
    await dialog.getByRole('button', { name: 'Close' }).tap()
    await phone.getByRole('heading', { name: '■ The org is disabled' }).waitFor()
    const { org } = await world.get('/api/v1/usage')
    await phone.getByText(`By ${org.by}: at 2 am`).waitFor()
    await fits(phone)
    // A process starts meanwhile, and the stream of stops comes back.
  }, 40_000)

  it('says so when it cannot even find out who is signed in, and goes on when it can', async () => {
    await phone.route('**/api/v1/session', (route) => route.abort())
    await phone.reload()
    await phone.getByRole('heading', { name: 'The control plane cannot be reached' }).waitFor()
    await phone.getByText('Whether anything is stopped is not known.').waitFor()
    await phone.getByText('every hold point denies already').waitFor()
    await fits(phone)
    await phone.unroute('**/api/v1/session')
    await phone.getByRole('button', { name: 'Try again now' }).tap()
    await phone.getByRole('heading', { name: '■ The org is disabled' }).waitFor()
  })

  it('was used without a complaint of the browser', () => {
    expect(troubleOf(phone)).toEqual([])
  })
})

/** Nothing is wider than the phone, and all that is pressed or filled in is big enough. */
async function fits(page: BrowserPage): Promise<void> {
  expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(WIDTH_PX)
  const targets = await page.locator('button:visible, input:visible').all()
  expect(targets.length).toBeGreaterThan(0)
  for (const target of targets) {
    const { height = 0, width = 0 } = (await target.boundingBox()) ?? {}
    expect(Math.min(height, width), await target.innerText()).toBeGreaterThanOrEqual(THUMB_PX)
  }
}
