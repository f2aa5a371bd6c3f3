import { Button, Divider, Popover, SegmentedControl, Stack, Text, useMantineColorScheme } from '@mantine/core'
import { useState } from 'react'

import { mayManage } from '../api/roles.ts'
import { endSession, type SessionScope } from '../api/session-end.ts'
import { useSession } from '../api/session-state.ts'
import { plain } from '../ui/plain.ts'
import { Untrusted } from '../ui/untrusted.tsx'
import { timeOfDay } from '../ui/when.tsx'
import { SignOutDialog } from './sign-out-dialog.tsx'

/** Who is signed in, until when, how to leave, and how the console looks. */
export function AccountMenu() {
  const session = useSession()
  const [opened, setOpened] = useState(false)
  const [asked, setAsked] = useState<Exclude<SessionScope, 'this'>>()
  const [problem, setProblem] = useState<string>()
  const signOut = async () => {
    setProblem(undefined)
    try {
      await endSession('this')
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error))
    }
  }
  const ask = (scope: Exclude<SessionScope, 'this'>) => {
    setOpened(false)
    setAsked(scope)
  }
  return (
    <>
      <Popover opened={opened} onChange={setOpened} position="bottom-end" width={280} trapFocus returnFocus>
        <Popover.Target>
          <Button
            variant="default"
            size="xs"
            aria-label={`Account: signed in with ${session.kind} rights`}
            onClick={() => setOpened(!opened)}
          >
            {session.kind}
          </Button>
        </Popover.Target>
        <Popover.Dropdown aria-label="Account">
          <Stack gap="xs">
            <Text size="sm" component="div">
              Signed in as{' '}
              {session.email === null ? (
                <>
                  {session.kind} key <Untrusted text={session.keyId} mono />
                </>
              ) : (
                <Untrusted text={session.email} />
              )}
              , org <Untrusted text={session.orgId} mono />
            </Text>
            <Text size="xs">
              Until {timeOfDay(session.endsAt)}, or {timeOfDay(session.idleAt)} when nobody does anything.
            </Text>
            <ThemeSwitch />
            <Divider />
            {problem !== undefined && (
              <Text size="sm" role="alert">
                You are not signed out. {plain(problem)}
              </Text>
            )}
            <Button variant="default" size="sm" onClick={() => void signOut()}>
              Sign out
            </Button>
            <Button variant="default" size="sm" onClick={() => ask('mine')}>
              Sign out everywhere
            </Button>
            {mayManage(session) && (
              <Button variant="default" size="sm" onClick={() => ask('org')}>
                Sign everybody out
              </Button>
            )}
          </Stack>
        </Popover.Dropdown>
      </Popover>
      <SignOutDialog scope={asked} onClose={() => setAsked(undefined)} />
    </>
  )
}

function ThemeSwitch() {
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  return (
    <SegmentedControl
      aria-label="Appearance"
      fullWidth
      size="xs"
      value={colorScheme}
      onChange={(value) => setColorScheme(value)}
      data={[
        { value: 'light', label: 'Light' },
        { value: 'dark', label: 'Dark' },
        { value: 'auto', label: 'Auto' },
      ]}
    />
  )
}
