// Pictures of every page of the console: light, dark, and on a phone.
//
//   npm run screenshots                      all of them, into screenshots/
//   npm run screenshots -- keys drill        only those
//   npm run screenshots -- --readme          the two of the README, into docs/images/

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'

import { startBrowser, type View } from '../fixtures/browser.ts'
import { openConsole } from '../fixtures/console-pages.ts'
import { seedConsole } from '../fixtures/console-seed.ts'
import { consoleViews, settle, type ConsoleView } from '../fixtures/console-views.ts'
import { startConsoleWorld } from '../fixtures/console-world.ts'

type Role = Parameters<typeof openConsole>[2]['as']

const ROOT = join(import.meta.dirname, '../..')
const LOOKS = {
  light: { width: 1280, height: 900 },
  dark: { width: 1280, height: 900, dark: true },
  phone: { width: 360, height: 740 },
} satisfies Record<string, View>

const wanted = process.argv.slice(2)
const world = await startConsoleWorld()
const browser = await startBrowser()
try {
  const seeded = await seedConsole(world)
  if (wanted.includes('--readme')) await forTheReadme()
  else await everything(consoleViews(seeded))
} finally {
  await browser.close()
  await world.close()
}

async function everything(views: readonly ConsoleView[]): Promise<void> {
  const isWanted = ({ name }: { readonly name: string }) => wanted.length === 0 || wanted.includes(name)
  for (const [look, view] of Object.entries(LOOKS)) {
    for (const as of ['admin', 'stop'] as const) {
      const mine = views.filter((one) => isWanted(one) && (one.as ?? 'admin') === as)
      if (mine.length > 0) await walk(mine, look, view, as)
    }
    for (const name of ['sign-in', 'stop-page-sign-in', 'recover'].filter((one) => isWanted({ name: one }))) {
      await signedOut(name, look, view)
    }
  }
  for (const [look, view] of Object.entries(LOOKS)) {
    if (isWanted({ name: 'org-disabled' })) await orgDisabled(look, view)
  }
  for (const [look, view] of Object.entries(LOOKS)) {
    if (isWanted({ name: 'unreachable' })) await unreachable(look, view)
  }
}

async function walk(views: readonly ConsoleView[], look: string, view: View, as: Role): Promise<void> {
  const page = await openConsole(browser, world, { ...view, as, at: '/' })
  for (const { name, at, act } of views) {
    await page.goto(`${world.url}/console${at}`)
    await settle(page)
    await act?.(page)
    await settle(page)
    await shoot(page, name, look, act === undefined && !at.includes('device='))
  }
  for (const complaint of page.complaints) console.log(`  the browser complains: ${complaint}`)
  await page.context().close()
}

async function signedOut(name: string, look: string, view: View): Promise<void> {
  const path = { 'sign-in': '/console/', 'stop-page-sign-in': '/console/stop', recover: '/recover' }[name]
  const page = await browser.open(`${world.url}${path}`, view)
  await settle(page)
  await shoot(page, name, look)
  await page.context().close()
}

/** Stopped by the stop page, so that it is seen too. */
async function orgDisabled(look: string, view: View): Promise<void> {
  const page = await openConsole(browser, world, { ...view, as: 'admin', at: '/stop' })
  await page.getByRole('button', { name: 'Stop everything' }).click()
  await page.getByLabel('Reason (optional)').fill('Payments go out twice')
  await page.getByRole('dialog').getByRole('button', { name: 'Stop everything' }).click()
  await page.getByRole('button', { name: 'Close' }).waitFor()
  await page.waitForTimeout(1500)
  await shoot(page, 'stop-page-stopped', look, false)
  await page.getByRole('button', { name: 'Close' }).click()
  await settle(page)
  await shoot(page, 'stop-page-disabled', look)
  for (const [name, at] of [
    ['org-disabled', '/'],
    ['org-disabled-approvals', '/approvals'],
  ] as const) {
    await page.goto(`${world.url}/console${at}`)
    await settle(page)
    await shoot(page, name, look)
  }
  await page.context().close()
  const { orgEpoch } = await world.get('/api/v1/usage')
  await world.post('/api/v1/org/enable', { ifEpoch: orgEpoch, reason: 'Mended' })
}

async function unreachable(look: string, view: View): Promise<void> {
  const [page, stopPage] = [
    await openConsole(browser, world, { ...view, as: 'admin', at: '/' }),
    await openConsole(browser, world, { ...view, as: 'stop', at: '/stop' }),
  ]
  await settle(page)
  await world.killControlPlane()
  await page.waitForTimeout(7000)
  await shoot(page, 'unreachable', look)
  await shoot(stopPage, 'stop-page-unreachable', look)
  await world.reviveControlPlane()
  await page.context().close()
  await stopPage.context().close()
}

/** A dialog lies over what is seen of the page, and not over all of it. */
async function shoot(page: Page, name: string, look: string, fullPage = true): Promise<void> {
  const folder = join(ROOT, 'screenshots', look)
  mkdirSync(folder, { recursive: true })
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage })
  const over = Number(await page.evaluate('document.documentElement.scrollWidth - innerWidth'))
  console.log(`${look} ${name}${over > 0 ? `  wider than the screen by ${over} px` : ''}`)
}

async function forTheReadme(): Promise<void> {
  const folder = join(ROOT, 'docs/images')
  mkdirSync(folder, { recursive: true })
  const pictures: readonly [string, string, Role, View][] = [
    ['console-overview', '/', 'admin', { width: 1120, height: 800 }],
    ['console-stop-phone', '/stop', 'stop', { width: 360, height: 640 }],
  ]
  for (const [name, at, as, view] of pictures) {
    const page = await openConsole(browser, world, { ...view, as, at })
    await settle(page)
    await page.waitForTimeout(1500)
    await page.screenshot({ path: join(folder, `${name}.png`) })
    await page.context().close()
    console.log(`docs/images/${name}.png`)
  }
}
