import type { Report } from './report.ts'
import { pay } from './steps-stop.ts'
import { DEVICES, type World } from './world.ts'

/** Everything at once, and no authority at all. */
export async function failures(world: World, report: Report): Promise<void> {
  await report.step('The org is disabled', 'ORG_DISABLED', async () => {
    await world.operator.disableOrg({ reason: 'demo: stop everything' })
    return (await pay(world, 'INV-1008'))?.code ?? 'no call'
  })

  await report.step('The org is enabled', 'OK', async () => {
    const usage = await world.admin.usage()
    const enabled = await world.admin.enableOrg({ ifEpoch: usage.ok ? usage.value.org?.epoch : undefined })
    if (!enabled.ok) return `enable: ${enabled.code}`
    return (await pay(world, 'INV-1008'))?.code ?? 'no call'
  })

  const revoked = await world.operator.revoke(DEVICES.email, {
    reason: 'demo: is this still so after a crash?',
  })
  await report.step('Control plane killed with kill -9', 'AUTHORITY_UNREACHABLE, 0 paid', async () => {
    const before = (await world.payments()).length
    await world.killControlPlane()
    const call = await pay(world, 'INV-1009')
    report.say(
      `denied within ${((call?.endedAtMs ?? Number.NaN) - (call?.startedAtMs ?? 0)).toFixed(1)} ms: no answer means no`,
    )
    return `${call?.code}, ${(await world.payments()).length - before} paid`
  })

  await report.step('Control plane started again', 'pays OK, mail still DEVICE_REVOKED', async () => {
    await world.restartControlPlane()
    const call = await pay(world, 'INV-1009')
    const email = await world.guard.check({ surface: world.guard.surface('email'), boundary: 'tool' })
    return `pays ${call?.code}, mail ${revoked.ok ? 'still' : 'never'} ${email.decision.code}`
  })
}
