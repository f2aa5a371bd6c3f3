import type { RunDetail, RunView } from 'holdpoint/tool-server'
import { howOftenPaid, restore } from './steps-stop.ts'
import type { Report } from './report.ts'
import { DEVICES, type World } from './world.ts'

const RUN_ID = 'run_demo'
const INVOICE_ID = 'INV-1010'

export interface Answer<Body> {
  readonly status: number
  readonly body: Body & { readonly code?: string; readonly boundary?: string; readonly request_id?: string }
}

/** Asks a tool server; with a body it is a POST. */
export async function askToolServer<Body>(url: string, token: string, body?: object): Promise<Answer<Body>> {
  const response = await fetch(url, {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Answer<Body>['body'] }
}

/** The tool server hosts the whole run: it pauses at a payment, is kept there, and resumes when a person has approved. */
export async function pauseAndResume(world: World, report: Report): Promise<void> {
  const ask = <Body>(path: string, token: string, body?: object) =>
    askToolServer<Body>(`${world.toolServerUrl}${path}`, token, body)
  const resume = () => ask<RunView>(`/runs/${RUN_ID}/resume`, world.callerToken, {})
  const paid = () => howOftenPaid(world, INVOICE_ID)

  await report.step('A hosted run comes to a payment', 'interrupted, not paid', async () => {
    const input = `Pay ${INVOICE_ID}`
    const asked = { agent: 'accounts-assistant', runId: RUN_ID, input }
    const { body } = await ask<RunView>('/runs', world.callerToken, asked)
    for (const { tool, arguments: args } of body.approvals ?? [])
      report.say(`waits for a person: ${tool} ${JSON.stringify(args)}`)
    return `${body.status ?? body.code}, ${await paid()}`
  })

  await report.step('Its caller may not approve; an approver does', '403, then approved', async () => {
    const { body } = await ask<RunDetail>(`/runs/${RUN_ID}`, world.callerToken)
    const decisions = body.approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
    const decide = (token: string) => ask<RunView>(`/runs/${RUN_ID}/decisions`, token, { decisions })
    const own = await decide(world.callerToken)
    const approver = await decide(world.approverToken)
    return `${own.status}, then ${approver.body.approvals?.map(({ state }) => state).join() ?? approver.body.code}`
  })

  await report.step('Revoked; the approved run is resumed', '403 DEVICE_REVOKED, not paid', async () => {
    await world.operator.revoke(DEVICES.server, { reason: 'demo: the whole tool server' })
    const { status, body } = await resume()
    report.say(`denied at ${body.boundary}, request ${body.request_id}; the run stays as it was`)
    return `${status} ${body.code}, ${await paid()}`
  })

  await report.step('Restored; the run is resumed', 'completed, paid once', async () => {
    await restore(world, DEVICES.server)
    const { body } = await resume()
    return `${body.status ?? body.code}, ${await paid()}`
  })

  await report.step('The same run, resumed once more', '409 RUN_ENDED, paid once', async () => {
    const { status, body } = await resume()
    return `${status} ${body.code}, ${await paid()}`
  })
}
