import { Button, Tabs } from '@mantine/core'
import { useMemo } from 'react'

import { mayRestore, mayStop } from '../../api/roles.ts'
import { useSession } from '../../api/session-state.ts'
import { Answer, Failed } from '../../ui/answer.tsx'
import { Page } from '../../ui/page.tsx'
import { DeviceDrawer } from './detail/device-drawer.tsx'
import { patternOf } from './device-id.ts'
import { DeviceList } from './device-list.tsx'
import { Dialogs } from './dialogs/dialogs.tsx'
import { Locks } from './locks.tsx'
import { useActions } from './use-actions.ts'
import { useDevices } from './use-devices.ts'
import { useFilter, useParam } from './use-filter.ts'

/** Everything that may work, and what was stopped. */
export function Devices() {
  const session = useSession()
  const { answer, usage, refused, lockCount, data } = useDevices()
  const [filter, changeFilter] = useFilter()
  const [tab, setTab] = useParam('tab')
  const [device, setDevice] = useParam('device')
  const actions = useActions()
  const { begin } = actions
  const pattern = useMemo(() => patternOf(filter), [filter])

  return (
    <Page
      title="Devices"
      actions={
        <>
          {mayRestore(session) && (
            <Button variant="default" onClick={() => begin({ is: 'register' })}>
              Register
            </Button>
          )}
          {mayStop(session) && (
            <Button color="red" onClick={() => begin({ is: 'stop', pattern })}>
              Stop a surface
            </Button>
          )}
        </>
      }
    >
      <Tabs
        value={tab === 'locks' ? 'locks' : 'devices'}
        onChange={(to) => setTab(to === 'locks' ? to : '')}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="devices">Devices</Tabs.Tab>
          <Tabs.Tab value="locks">
            {lockCount === undefined ? 'Locks' : `Locks (${lockCount.toLocaleString('en')})`}
          </Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="devices">
          {refused !== undefined && <Failed error={refused} stale />}
          <Answer of={usage}>
            {() => (
              <Answer of={answer}>
                {() => (
                  <DeviceList
                    data={data}
                    filter={filter}
                    changeFilter={changeFilter}
                    begin={begin}
                    open={setDevice}
                  />
                )}
              </Answer>
            )}
          </Answer>
        </Tabs.Panel>
        <Tabs.Panel value="locks">
          <Answer of={answer}>{() => <Locks data={data} begin={begin} />}</Answer>
        </Tabs.Panel>
      </Tabs>
      <DeviceDrawer
        deviceId={device}
        data={data}
        known={answer.data !== undefined && usage.data !== undefined}
        close={() => setDevice('')}
        begin={begin}
        covered={actions.opened}
      />
      <Dialogs actions={actions} data={data} />
    </Page>
  )
}
