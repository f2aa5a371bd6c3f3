import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { hasChromium, startBrowser, type Browser } from '../../fixtures/browser.ts'
import { openConsole } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'

describe.skipIf(!hasChromium('tables on a phone'))('A table that is wider than a phone', () => {
  let world: ConsoleWorld
  let browser: Browser
  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startConsoleWorld(), startBrowser()])
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await world?.close()
  })

  it.each([
    ['/keys', 'Keys'],
    ['/devices', 'List of devices'],
  ])('shows by a shadow at its edge that there is more: %s', async (at, name) => {
    const page = await openConsole(browser, world, { as: 'admin', at, width: 360, height: 740 })
    await page.getByRole('region', { name, exact: true }).waitFor()
    const seen = await page.evaluate(`(() => {
      const area = document.querySelector('[role="region"][aria-label="${name}"]')
      const { backgroundImage, backgroundAttachment } = getComputedStyle(area)
      return {
        isWider: area.scrollWidth > area.clientWidth,
        layers: backgroundImage.split('linear-gradient').length - 1,
        backgroundAttachment,
      }
    })()`)
    expect(seen).toEqual({ isWider: true, layers: 4, backgroundAttachment: 'local, local, scroll, scroll' })
    await page.context().close()
  })
})
