// Stories of a payment that waits for a person: the inbox, a link to one call, what follows by itself. G6, G8.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { hasChromium, startBrowser, type Browser, type BrowserPage } from '../../fixtures/browser.ts'
import { markPage, openConsole, signIn, troubleOf, wasReloaded } from '../../fixtures/console-pages.ts'
import { startConsoleWorld, type ConsoleWorld } from '../../fixtures/console-world.ts'
import { createPayingAgent } from '../../fixtures/paying-agent.ts'

const FIRST = 'INV-1001'
const DECLINED = 'INV-1002'
const FROZEN = 'INV-1003'

describe.skipIf(!hasChromium('a story of the console'))('A payment that waits for a person', () => {
  let world: ConsoleWorld
  let browser: Browser
  let ledger: Awaited<ReturnType<typeof createPayingAgent>>
  let inbox: BrowserPage
  let approver: BrowserPage
  let first: { readonly runId: string; readonly link: string }

  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startConsoleWorld(), startBrowser()])
    ledger = await createPayingAgent(world)
    inbox = await openConsole(browser, world, { as: 'viewer', at: '/approvals' })
    await inbox.getByText('No call waits.').waitFor()
  }, 60_000)
  afterAll(async () => {
    ledger?.close()
    await browser?.close()
    await world?.close()
  })

  it('appears in the inbox by itself, with the exact arguments that would run', async () => {
    await markPage(inbox)
    const run = await world.run(`Pay ${FIRST}`)
    expect(run.status).toBe('interrupted')
    await inbox.getByText('1 call waits.').waitFor()
    const card = inbox.getByRole('listitem').filter({ hasText: FIRST })
    expect(await card.innerText()).toContain(`{"amountCents":12500,"invoiceId":"${FIRST}"}`)
    expect(await card.innerText()).toMatch(/expires in .*Waiting/s)
    await card.getByRole('link', { name: 'send_payment' }).click()
    await inbox.getByRole('heading', { level: 1, name: 'Approval: send_payment' }).waitFor()
    expect(await wasReloaded(inbox)).toBe(false)
    first = { runId: run.runId, link: inbox.url() }
    const shown = inbox.getByLabel('The exact arguments that would run')
    expect(JSON.parse(await shown.innerText())).toEqual({ amountCents: 12_500, invoiceId: FIRST })
    // A viewer sees what waits, and is offered nothing.
    await inbox.getByText('A key of kind viewer sees what waits and decides nothing').waitFor()
    expect(await inbox.getByRole('button', { name: 'Approve …' }).count()).toBe(0)
  })

  it('is there once somebody has signed in who opened its link, and approved it is paid exactly once', async () => {
    approver = await browser.open(first.link)
    await approver.getByRole('heading', { name: 'Sign in to holdpoint' }).waitFor()
    await signIn(approver, world.secrets.operator)
    expect(approver.url()).toBe(first.link)
    await approver.getByRole('button', { name: 'Approve …' }).click()
    const dialog = approver.getByRole('dialog', { name: 'Approve this call' })
    expect(await dialog.getByLabel('Arguments to approve').innerText()).toContain(FIRST)
    expect(ledger.paid(FIRST)).toBe(0)
    await dialog.getByRole('button', { name: 'Approve', exact: true }).click()
    await dialog.getByText(/^Approved\./).waitFor()
    // Nobody resumes it: it goes on by itself.
    await until(async () => (await runOf(first.runId)).status === 'completed')
    expect(ledger.paid(FIRST)).toBe(1)
    await inbox.getByText('Approved', { exact: true }).waitFor()
  })

  it('leaves a timeline with each step, each hold point and its request_id', async () => {
    await approver.goto(`${world.url}/console/runs/${first.runId}`)
    await approver.getByRole('definition').getByText('completed', { exact: true }).waitFor()
    const { steps } = await runOf(first.runId)
    const decisions = steps.filter(isDecision)
    expect(decisions.map(boundaryOf)).toEqual(
      expect.arrayContaining(['task', 'tool', 'side_effect', 'resume']),
    )
    const timeline = approver.getByRole('region', { name: 'Timeline' })
    await timeline.getByRole('heading', { name: /^Call of lookup_invoice/ }).waitFor()
    const payment = timeline.getByRole('article').filter({ hasText: 'Call of send_payment' })
    expect(await payment.textContent()).toMatch(
      /The model asked for the call.*A person was asked to approve it.*allowed.*hold point side_effect.*The call was answered/s,
    )
    for (const { detail } of decisions) {
      const link = timeline.getByRole('link', { name: String(detail.request_id) })
      expect(await link.count(), `${detail.boundary} ${detail.request_id}`).toBeGreaterThan(0)
    }
    expect(await timeline.getByText(/^hold point/).count()).toBe(decisions.length)
    const asked = steps.filter(({ type }) => type === 'held')
    expect(asked.length).toBe(decisions.length)
    expect(await timeline.getByRole('listitem').count()).toBe(steps.length - asked.length)
    await payment.getByRole('link', { name: 'A person was asked to approve it' }).click()
    await approver.getByText('Approved', { exact: true }).waitFor()
    expect(approver.url()).toBe(first.link)
  })

  it('never runs once it is declined, and the model is told why', async () => {
    const { runId } = await world.run(`Pay ${DECLINED}`)
    await openWaiting(DECLINED)
    await approver.getByRole('button', { name: 'Decline …' }).click()
    const dialog = approver.getByRole('dialog', { name: 'Decline this call' })
    await dialog.getByLabel('Message to the model').fill('Not before it was delivered.')
    await dialog.getByRole('button', { name: 'Decline', exact: true }).click()
    await dialog.getByText(/^Declined\./).waitFor()
    await until(async () => (await runOf(runId)).status === 'completed')
    const { output } = await world.runDetail(runId)
    expect(output).toContain(`${DECLINED}: not paid.`)
    expect(output).toContain('Not before it was delivered.')
    expect(ledger.paid(DECLINED)).toBe(0)
    await approver.getByRole('button', { name: 'Close' }).last().click()
  })

  it('is frozen while the org is disabled, and can be decided after that', async () => {
    const { runId } = await world.run(`Pay ${FROZEN}`)
    await openWaiting(FROZEN)
    // The form was open before: it is frozen too.
    await approver.getByRole('button', { name: 'Approve …' }).click()
    const dialog = approver.getByRole('dialog', { name: 'Approve this call' })
    const { epoch: ifEpoch } = await world.post('/api/v1/org/disable', { reason: 'audit' }, 'operator')
    await dialog.getByText('The whole org is disabled, so nothing is decided.').waitFor()
    expect(await dialog.getByRole('button', { name: 'Approve', exact: true }).isDisabled()).toBe(true)
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    await approver.getByText('Frozen: the org is disabled').waitFor()
    expect(await approver.getByRole('button', { name: 'Approve …' }).isDisabled()).toBe(true)
    expect(await approver.getByRole('button', { name: 'Decline …' }).isDisabled()).toBe(true)
    await world.post('/api/v1/org/enable', { ifEpoch })

    await approver.getByRole('button', { name: 'Approve …' }).click()
    await approver.getByRole('dialog').getByRole('button', { name: 'Approve', exact: true }).click()
    await approver.getByText(/^Approved\./).waitFor()
    await until(async () => (await runOf(runId)).status === 'completed')
    expect(ledger.paid(FROZEN)).toBe(1)
  })

  it('was decided without a complaint of the browser', () => {
    expect([...troubleOf(inbox), ...troubleOf(approver)]).toEqual([])
  })

  const openWaiting = async (invoiceId: string) => {
    await approver.goto(`${world.url}/console/approvals`)
    const card = approver.getByRole('listitem').filter({ hasText: invoiceId })
    await card.getByRole('link').first().click()
    await approver.getByLabel('The exact arguments that would run').getByText(invoiceId).waitFor()
  }
  const runOf = async (runId: string) => {
    const { run, steps } = await world.get(`/api/v1/runs/${runId}`)
    return { ...run, steps } as Run
  }
})

interface Step {
  readonly type: string
  readonly detail: { readonly boundary?: string; readonly request_id?: string }
}
interface Run {
  readonly status: string
  readonly steps: readonly Step[]
}
const isDecision = ({ type }: Step) => type === 'allowed' || type === 'denied'
const boundaryOf = ({ detail }: Step) => detail.boundary
const until = (isSo: () => Promise<boolean>) => vi.waitUntil(isSo, { timeout: 15_000, interval: 100 })
