/** What the audit calls changes, by what they are about. A group is a filter too. */
const ACTIONS: Readonly<Record<string, readonly string[]>> = {
  device: [
    'device.register',
    'device.revoke',
    'device.unrevoke',
    'device.remove',
    'device.restore_removed',
    'device.labels',
  ],
  lock: ['lock.add', 'lock.release'],
  org: [
    'org.create',
    'org.disable',
    'org.enable',
    'org.plan',
    'org.plan_ended',
    'org.owners',
    'org.recover_requested',
    'org.recover',
  ],
  key: ['key.issue', 'key.rotate', 'key.burn', 'key.expired'],
  session: ['session.start', 'session.end'],
  approval: ['approval.approve', 'approval.decline'],
  drill: ['drill.run', 'drill.store', 'drill.cut'],
}

/** For a select, with whatever else the address asks for. */
export function actionChoices(chosen: string | undefined) {
  const known = Object.entries(ACTIONS)
  const isKnown =
    chosen === undefined || known.some(([group, actions]) => group === chosen || actions.includes(chosen))
  return [
    { value: '', label: 'every change' },
    ...(isKnown ? [] : [{ value: chosen, label: chosen }]),
    ...known.map(([group, actions]) => ({
      group,
      items: [
        { value: group, label: `${group}: all` },
        ...actions.map((action) => ({ value: action, label: action })),
      ],
    })),
  ]
}
