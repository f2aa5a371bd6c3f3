import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Response } from 'playwright-core'

import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { goTo, signIn, troubleOf } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'
import { plantFleet } from '../fleet.ts'

const DEVICES = 10_000
const FIRST_PAGE_BYTES = 250_000
const STOP_PAGE_BYTES = 100_000
const PATHS = [
  '/',
  '/devices',
  '/stops',
  '/stops/1',
  '/approvals',
  '/approvals/a',
  '/runs',
  '/runs/r',
  '/decisions',
]
const MORE_PATHS = ['/decisions/local_x', '/keys', '/plan', '/audit', '/drills', '/drills/d', '/no-such-page']

describe.skipIf(!hasChromium('the sizes of the console'))('the console as it is served', () => {
  let world: ConsoleWorld
  let browser: Browser
  let page: BrowserPage
  const pages: BrowserPage[] = []

  /** What an address brings along until `shown`, in bytes as they are sent. */
  const loaded = async (path: string, shown: (page: BrowserPage) => Promise<unknown>) => {
    const responses: Response[] = []
    const tab = await browser.open('about:blank')
    tab.on('response', (response) => responses.push(response))
    await tab.goto(world.url + path)
    await shown(tab)
    const files = responses.filter((response) => new URL(response.url()).pathname.startsWith('/console'))
    const sizes = await Promise.all(
      files.map(async (response) => ({
        name: new URL(response.url()).pathname,
        bytes: (await response.request().sizes()).responseBodySize,
        atMs: response.request().timing().startTime,
        encoding: await response.headerValue('content-encoding'),
      })),
    )
    pages.push(tab)
    return sizes
  }
  const sum = (files: readonly { readonly bytes: number }[]) =>
    files.reduce((all, { bytes }) => all + bytes, 0)

  beforeAll(async () => {
    world = await startConsoleWorld({ toolServer: false })
    await plantFleet(world, DEVICES)
    browser = await startBrowser()
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await world?.close()
  })

  it(`loads less than ${FIRST_PAGE_BYTES / 1000} kB of script, zipped, before it shows the first page`, async () => {
    const files = await loaded('/console/', async (tab) => {
      await signIn(tab, world.secrets.admin)
      await tab.getByRole('heading', { level: 1, name: 'Overview' }).waitFor()
      page = tab
    })
    const overview = files.find(({ name }) => /\/overview-[^/]+\.js$/.test(name))
    expect(overview, 'a file of its own').toBeDefined()
    // The other pages are loaded 2 s after it.
    const before = files.filter(({ atMs }) => atMs < (overview?.atMs ?? 0) + 1500)
    const scripts = before.filter(({ name }) => name.endsWith('.js'))
    expect(scripts.map(({ encoding }) => encoding)).toEqual(scripts.map(() => 'gzip'))
    expect(scripts.length).toBeGreaterThan(1)
    console.log(`the first page: ${sum(scripts)} bytes of script, ${sum(before)} in all`)
    expect(sum(scripts)).toBeLessThan(FIRST_PAGE_BYTES)
  })

  it(`loads less than ${STOP_PAGE_BYTES / 1000} kB in all for the stop page`, async () => {
    const files = await loaded('/console/stop', (tab) =>
      tab.getByRole('heading', { name: 'Sign in to stop' }).waitFor(),
    )
    expect(files.some(({ name }) => name.endsWith('.js'))).toBe(true)
    console.log(`the stop page: ${sum(files)} bytes`)
    expect(sum(files)).toBeLessThan(STOP_PAGE_BYTES)
  })

  it('lets every page run its own files only, with a style nonce that is new each time, in nobody’s frame', async () => {
    const nonces: string[] = []
    for (const path of ['', ...PATHS, ...MORE_PATHS, '/stop']) {
      const response = await fetch(`${world.url}/console${path}`)
      const html = await response.text()
      const [, nonce = ''] =
        /'nonce-([^']+)'/.exec(response.headers.get('content-security-policy') ?? '') ?? []
      expect(response.headers.get('content-security-policy'), path).toBe(
        `default-src 'none'; script-src 'self'; style-src 'self' 'nonce-${nonce}'; img-src 'self' data:; font-src 'self'; ` +
          `connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      )
      expect(
        html.match(/nonce="([^"]+)"/g)?.every((one) => one === `nonce="${nonce}"`),
        path,
      ).toBe(true)
      expect(html, 'nothing inline').not.toMatch(/<script(?![^>]*\ssrc=)|<style|\son\w+=/)
      nonces.push(nonce)
    }
    expect(new Set(nonces).size).toBe(nonces.length)
  })

  it('asks nobody but the control plane for anything, on any page', async () => {
    for (const path of [...PATHS, ...MORE_PATHS]) {
      await goTo(page, path)
      await page.getByRole('heading', { level: 1 }).first().waitFor()
    }
    expect(
      pages
        .flatMap(({ requested }) => requested)
        .filter((url) => !url.startsWith(`${world.url}/`) && !url.startsWith('data:')),
    ).toEqual([])
    expect(pages.flatMap(troubleOf)).toEqual([])
  })

  it('keeps only the rows in sight of 10,000 devices, all of them within reach', async () => {
    await goTo(page, '/devices')
    await page.getByText('10,000 devices', { exact: true }).waitFor()
    const grid = page.getByRole('grid', { name: 'Devices' })
    const rows = () => grid.getByRole('row').count()
    expect(await grid.getAttribute('aria-rowcount')).toBe('10001')
    expect(await rows()).toBeGreaterThan(5)
    expect(await rows()).toBeLessThan(200)
    await page.getByRole('button', { name: 'Select all 10,000 matching' }).click()
    await page.getByText('10,000 devices, 10,000 selected').waitFor()
    await grid.getByRole('checkbox').nth(1).focus()
    await page.keyboard.press('End')
    await page.locator('[aria-rowindex="10001"]').waitFor()
    expect(await rows()).toBeLessThan(200)
  })
})
