// npm run bench:console [-- --devices=10000 --rounds=20 --slowdown=1 --json]. How long the console's table of devices takes
// from what a person does to the next paint, as the browser itself measures it (Event Timing, in steps of 8 ms; shorter
// ones than 16 ms are not told and count as 16). `slowdown`: of the browser's CPU, such as 4 for a phone.
import { availableParallelism, cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import type { Page } from 'playwright-core'

import { plantFleet } from '../console/fleet.ts'
import { hasChromium, startBrowser } from '../fixtures/browser.ts'
import { signIn } from '../fixtures/console-pages.ts'
import { startConsoleWorld } from '../fixtures/console-world.ts'
import { quantile } from './processes.ts'

const { values } = parseArgs({
  options: {
    devices: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '20' },
    slowdown: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
})
const DEVICES = Number(values.devices)
const ROUNDS = Number(values.rounds)
const GOAL_MS = 200
const SHORTEST_MS = 16
/** Until the browser has told of an interaction, and nothing of it is drawn any more. */
const REST_MS = 400

interface Interaction {
  readonly id: number
  readonly durationMs: number
}

/** Runs in the page, before its own scripts. */
const OBSERVE = `
  window.interactions = []
  new PerformanceObserver((list) => {
    for (const { interactionId: id, duration: durationMs } of list.getEntries()) {
      if (id) window.interactions.push({ id, durationMs })
    }
  }).observe({ type: 'event', durationThreshold: 16, buffered: true })
`

/** The slowest event of each interaction since it was asked last. */
async function taken(page: Page): Promise<number[]> {
  await page.waitForTimeout(REST_MS)
  const told = await page.evaluate<Interaction[]>('window.interactions.splice(0)')
  const slowest = new Map<number, number>()
  for (const { id, durationMs } of told) slowest.set(id, Math.max(slowest.get(id) ?? 0, durationMs))
  return [...slowest.values()]
}

const typed = 'crm:prod pay'
const actions: Readonly<
  Record<
    string,
    { readonly act: (page: Page) => Promise<unknown>; readonly after?: (page: Page) => Promise<unknown> }
  >
> = {
  'type a letter into the search': {
    act: (page) => page.getByRole('searchbox', { name: 'Search' }).pressSequentially(typed, { delay: 60 }),
    after: (page) => page.getByRole('searchbox', { name: 'Search' }).fill(''),
  },
  'select all': { act: (page) => page.getByRole('checkbox', { name: /^Select all/ }).click() },
  'sort by device': {
    act: (page) =>
      page
        .getByRole('columnheader', { name: /^Device/ })
        .getByRole('button')
        .click(),
  },
  'sort by last seen': {
    act: (page) =>
      page
        .getByRole('columnheader', { name: /^Last seen/ })
        .getByRole('button')
        .click(),
  },
  'filter by state': {
    act: (page) => page.getByLabel('State', { exact: true }).press('ArrowDown'),
    after: (page) => page.getByLabel('State', { exact: true }).selectOption(''),
  },
  'open the drawer': {
    act: (page) => page.getByRole('rowheader').first().getByRole('button').click(),
    after: (page) => page.keyboard.press('Escape'),
  },
  'a row down': {
    act: (page) =>
      page
        .getByRole('checkbox', { name: /^Select (?!all)/ })
        .first()
        .press('ArrowDown'),
  },
}

if (hasChromium('bench:console')) {
  const world = await startConsoleWorld({ toolServer: false })
  const browser = await startBrowser()
  try {
    await plantFleet(world, DEVICES)
    const page = await browser.open(`${world.url}/console/devices`)
    await page.addInitScript(OBSERVE)
    await page.reload()
    await signIn(page, world.secrets.admin)
    await page.getByText(`${DEVICES.toLocaleString('en')} devices`, { exact: true }).waitFor()
    const chrome = await page.context().newCDPSession(page)
    await chrome.send('Emulation.setCPUThrottlingRate', { rate: Number(values.slowdown) })
    await taken(page)
    const rows: Record<string, object> = {}
    for (const [name, { act, after }] of Object.entries(actions)) {
      const times: number[] = []
      let acts = 0
      for (let round = 0; round < ROUNDS; round += 1) {
        await act(page)
        acts += name.startsWith('type') ? typed.length : 1
        times.push(...(await taken(page)))
        await after?.(page)
        if (after !== undefined) await taken(page)
      }
      // What was quick is not told.
      const all = [...times, ...Array<number>(Math.max(0, acts - times.length)).fill(SHORTEST_MS)]
      const [p50, p98, max] = [0.5, 0.98, 1].map((share) => Math.round(quantile(all, share)))
      rows[name] = {
        interactions: acts,
        'p50 ms': p50,
        'p98 ms': p98,
        'max ms': max,
        [`under ${GOAL_MS} ms`]: (p98 ?? 0) < GOAL_MS,
      }
    }
    const machine = `${availableParallelism()} × ${cpus()[0]?.model ?? 'CPU'}, load ${loadavg()[0]?.toFixed(1)}`
    if (values.json)
      console.log(JSON.stringify({ devices: DEVICES, slowdown: Number(values.slowdown), machine, rows }))
    else {
      console.log(
        `From input to the next paint, with ${DEVICES.toLocaleString('en')} devices, CPU slowed down ${values.slowdown} times`,
      )
      console.log(machine)
      console.table(rows)
    }
  } finally {
    await browser.close()
    await world.close()
  }
}
