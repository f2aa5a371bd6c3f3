import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../fixtures/browser.ts'
import { openConsole } from '../fixtures/console-pages.ts'
import { seedConsole, type Seeded } from '../fixtures/console-seed.ts'
import { consoleViews, settle, type ConsoleView } from '../fixtures/console-views.ts'
import { startConsoleWorld, type ConsoleWorld } from '../fixtures/console-world.ts'

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice']
/** What depends on how wide the page is. */
const SHAPE = [
  'target-size',
  'scrollable-region-focusable',
  'aria-hidden-focus',
  'page-has-heading-one',
  'region',
]
/** What is laid out in another way on a phone. */
const ON_A_PHONE = ['overview', 'devices', 'device-revoked', 'stop-a-surface', 'approval', 'audit']
const AT_ONCE = 2
const LIMIT_MS = 180_000

describe.skipIf(!hasChromium('whether everybody can use the console'))('the console, for everybody', () => {
  let world: ConsoleWorld
  let browser: Browser
  let seeded: Seeded
  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startConsoleWorld(), startBrowser()])
    seeded = await seedConsole(world)
  }, 60_000)
  afterAll(async () => {
    await browser.close()
    await world.close()
  })

  const open = async (as: 'admin' | 'stop', at: string): Promise<BrowserPage> => {
    const page = await openConsole(browser, world, { as, at })
    await page.emulateMedia({ reducedMotion: 'reduce' })
    return page
  }

  it(
    'has no page and no dialog that axe finds fault with: light, dark, on a phone',
    async () => {
      const views = consoleViews(seeded)
      const waiting = [...views]
      const found: string[] = []
      const work = async () => {
        const pages = { admin: await open('admin', '/'), stop: await open('stop', '/stop') }
        for (let view = waiting.shift(); view !== undefined; view = waiting.shift()) {
          found.push(...(await violationsOf(pages[view.as ?? 'admin'], view, world.url)))
        }
        for (const page of Object.values(pages)) {
          found.push(...page.complaints)
          await page.context().close()
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, work))
      for (const path of ['/console/', '/console/stop', '/recover']) {
        const page = await browser.open(`${world.url}${path}`)
        await settle(page, 0)
        found.push(...(await everyLook(page, path)))
        await page.context().close()
      }
      expect(found).toEqual([])
    },
    LIMIT_MS,
  )

  it.each(['/', '/devices'])('can be walked through by Tab at %s, and one sees where one is', async (at) => {
    const page = await open('admin', at)
    await settle(page, 100)
    const wanted = Number(await page.evaluate(MARK_STOPS))
    expect(wanted).toBeGreaterThan(15)
    const unseen: string[] = []
    for (let presses = 0; presses < wanted + 10; presses += 1) {
      await page.keyboard.press('Tab')
      const name = await page.evaluate(LOOK_AT_FOCUS)
      if (typeof name === 'string') unseen.push(name)
    }
    expect(await page.evaluate(NOT_REACHED)).toEqual([])
    expect(unseen).toEqual([])
    await page.context().close()
  })

  it.each([
    ['Stop everything', '/'],
    ['Stop a surface', '/devices'],
    ['Register', '/devices'],
    ['Create a key', '/keys'],
  ])('keeps the focus in the dialog of "%s", and gives it back', async (name, at) => {
    const page = await open('admin', at)
    await settle(page, 0)
    const opener = page.getByRole('button', { name, exact: true }).first()
    await opener.focus()
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog', { name })
    await dialog.waitFor()
    await page.waitForTimeout(100)
    for (let presses = 0; presses < 20; presses += 1) {
      expect(await page.evaluate(`document.activeElement?.closest('[role=dialog]') !== null`)).toBe(true)
      await page.keyboard.press('Tab')
    }
    if (name === 'Create a key') await dialog.getByRole('button', { name: 'Cancel' }).press('Enter')
    else await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    await expect.poll(() => page.evaluate('document.activeElement.textContent')).toBe(name)
    await page.context().close()
  })

  it('closes the drawer of a device by Escape, and gives the focus back to its row', async () => {
    const page = await open('admin', '/devices?q=payments')
    await settle(page, 0)
    const row = page.getByRole('button', { name: seeded.devices.revoked, exact: true })
    await row.focus()
    await page.keyboard.press('Enter')
    const drawer = page.getByRole('dialog', { name: seeded.devices.revoked })
    await drawer.waitFor()
    await page.keyboard.press('Escape')
    await drawer.waitFor({ state: 'detached' })
    await expect.poll(() => page.evaluate('document.activeElement.textContent')).toBe(seeded.devices.revoked)
    await page.context().close()
  })

  it('moves nothing for those who asked for less motion', async () => {
    const page = await openConsole(browser, world, { as: 'admin', at: '/' })
    const moves = async () => {
      await page.goto(`${world.url}/console/`)
      await settle(page)
      await page.evaluate(WATCH_MOVES)
      await page.getByRole('button', { name: 'Stop everything' }).click()
      await page.getByRole('dialog').waitFor()
      await page.waitForTimeout(300)
      return page.evaluate('moves.size')
    }
    expect(await moves()).toBeGreaterThan(0)
    await page.emulateMedia({ reducedMotion: 'reduce' })
    expect(await moves()).toBe(0)
    await page.context().close()
  })
})

async function violationsOf(page: Page, view: ConsoleView, url: string): Promise<string[]> {
  await page.goto(`${url}/console${view.at}`)
  await settle(page, 0)
  await view.act?.(page)
  if (view.act !== undefined) await settle(page, 50)
  const found = await everyLook(page, view.name)
  if (!ON_A_PHONE.includes(view.name)) return found
  const before = page.viewportSize() ?? { width: 1280, height: 900 }
  await page.setViewportSize({ width: 360, height: 740 })
  const onPhone = [...(await run(page, `${view.name}, phone`, SHAPE)), ...(await overflow(page, view.name))]
  await page.setViewportSize(before)
  return [...found, ...onPhone]
}

/** What changes with the dark is colour. */
async function everyLook(page: Page, name: string): Promise<string[]> {
  const light = await run(page, `${name}, light`)
  await page.emulateMedia({ colorScheme: 'dark' })
  const dark = await run(page, `${name}, dark`, ['color-contrast'])
  await page.emulateMedia({ colorScheme: 'light' })
  return [...light, ...dark]
}

interface Violation {
  readonly id: string
  readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary: string }[]
}

/** Evaluated by the debugger: the page's policy lets nobody else bring a script. */
async function run(page: Page, where: string, rules?: readonly string[]): Promise<string[]> {
  if (await page.evaluate(`globalThis.axe === undefined`)) await page.evaluate(axe.source)
  const runOnly = rules === undefined ? { type: 'tag', values: TAGS } : { type: 'rule', values: rules }
  const options = JSON.stringify({ runOnly, preload: false, resultTypes: ['violations'] })
  const violations = await page.evaluate<Violation[]>(
    `axe.run(document, ${options}).then(({ violations }) => violations)`,
  )
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${where}: ${id} at ${target.join(' ')}: ${failureSummary}`),
  )
}

async function overflow(page: Page, where: string): Promise<string[]> {
  const over = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')
  return over > 0 ? [`${where} is wider than a phone by ${over} px`] : []
}

/** Every stop of Tab that is seen, by its order. Of radio buttons, a group is one stop. */
const MARK_STOPS = `
  globalThis.stops = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter((e) => e.tabIndex >= 0 && !e.disabled && e.checkVisibility({ visibilityProperty: true }))
  globalThis.reached = new Set()
  stops.length`
const LOOK_AT_FOCUS = `(() => {
  const e = document.activeElement
  if (e === null || e === document.body) return
  reached.add(e)
  const look = () => [e, e.parentElement].map((one) => {
    const { outlineStyle, outlineWidth, outlineColor, boxShadow, borderColor, top } = getComputedStyle(one)
    return [outlineStyle === 'none' ? '' : outlineStyle + outlineWidth + outlineColor, boxShadow, borderColor, top].join()
  }).join()
  const focused = look()
  e.blur()
  const blurred = look()
  e.focus({ focusVisible: true, preventScroll: true })
  if (focused === blurred) return e.outerHTML.slice(0, 200)
})()`
const NOT_REACHED = `stops.filter((e) => e.isConnected && !reached.has(e)).map((e) => e.outerHTML.slice(0, 200))`
const WATCH_MOVES = `
  globalThis.moves = new Set()
  const watch = () => {
    for (const { effect } of document.getAnimations()) {
      if (effect.getComputedTiming().duration > 0) moves.add(effect.target)
    }
    requestAnimationFrame(watch)
  }
  requestAnimationFrame(watch)
  undefined`
