import { MachineID } from 'holdpoint'
import type { RunDetail, RunView } from 'holdpoint/tool-server'
import type { Cluster } from './cluster/start-cluster.ts'
import type { Report } from './report.ts'
import { askToolServer } from './steps-resume.ts'
import { howOftenPaid, pay, restore } from './steps-stop.ts'
import { DEVICES, type World } from './world.ts'

/** What several nodes over one store add: none of them is needed, and each knows what another was told. */
export async function manyNodes(world: World, cluster: Cluster, report: Report): Promise<void> {
  const { controlPlanes, toolServers, postgres, secrets } = cluster
  const [first, second] = controlPlanes
  const [server] = toolServers
  if (first === undefined || second === undefined || server === undefined)
    throw new Error('There are three of each.')

  await report.step('Payments are revoked on one node', 'denied by 3 of 3 nodes', async () => {
    const operator = new MachineID({ baseUrl: first.operatorUrl, orgKey: secrets.operator })
    await operator.revoke(DEVICES.payments, { reason: 'demo: told to one of three' })
    await operator.close()
    const answers = await Promise.all(controlPlanes.map((node) => validate(node.url, secrets.runtime)))
    await restore(world, DEVICES.payments)
    return `denied by ${answers.filter((code) => code === 'DEVICE_REVOKED').length} of ${answers.length} nodes`
  })

  await report.step('One node is killed with kill -9', 'pays OK, then DEVICE_REVOKED', async () => {
    await second.kill()
    const before = await pay(world, 'INV-1011')
    const revoked = await world.operator.revoke(DEVICES.payments, { reason: 'demo: with two of three' })
    if (!revoked.ok) return `revoke: ${revoked.code}`
    const after = await pay(world, 'INV-1012')
    return `pays ${before?.code}, then ${after?.code}`
  })

  await report.step('It is started again; payments are restored', 'pays OK', async () => {
    await second.start()
    await restore(world, DEVICES.payments)
    return `pays ${(await pay(world, 'INV-1012'))?.code}`
  })

  await report.step('A run waits; the server it is on is killed', 'completed, paid once', async () => {
    const { callerToken, approverToken, toolServerUrl } = world
    const run = { agent: 'accounts-assistant', runId: 'run_elsewhere', input: 'Pay INV-1013' }
    const begun = await askToolServer<RunView>(`${server.url}/runs`, callerToken, run)
    await server.kill()
    report.say(`${server.name} had it, ${begun.body.status}, and is gone`)
    const at = `${toolServerUrl}/runs/${run.runId}`
    const { body } = await askToolServer<RunDetail>(at, approverToken)
    const decisions = body.approvals.map(({ callId, digest }) => ({ callId, digest, approve: true }))
    await askToolServer(`${at}/decisions`, approverToken, { decisions })
    const resumed = await askToolServer<RunView>(`${at}/resume`, callerToken, {})
    return `${resumed.body.status ?? resumed.body.code}, ${await howOftenPaid(world, 'INV-1013')}`
  })

  if (postgres === undefined) return
  await report.step('Postgres is killed with kill -9', 'AUTHORITY_BAD_STATUS', async () => {
    await postgres.kill()
    return (await pay(world, 'INV-1014'))?.code ?? 'no call'
  })

  await report.step(
    'Postgres is back; nothing else was started',
    'not paid before, pays OK, paid once',
    async () => {
      await postgres.start()
      const before = await howOftenPaid(world, 'INV-1014')
      const code = (await pay(world, 'INV-1014'))?.code
      return `${before} before, pays ${code}, ${await howOftenPaid(world, 'INV-1014')}`
    },
  )
}

async function validate(baseUrl: string, orgKey: string): Promise<string> {
  const client = new MachineID({ baseUrl, orgKey })
  const answer = await client.validate(DEVICES.payments)
  await client.close()
  return answer.code
}
